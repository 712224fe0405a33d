# Row "relation", pre-training, ViT-B -> ViT-S: which patches are alike, behind a linear map.
_base_ = './vits_tinybert.py'

model = dict(arch=dict(_delete_=True, embed_dim=384, depth=12, num_heads=6))
distillation = dict(
    taps=dict(_delete_=True, tokens=dict(student='norm')),
    adapters=dict(
        _delete_=True, tokens=dict(type='TokenAdapter', in_channels=384, out_channels=768)),
    losses=dict(
        _delete_=True,
        loss_relation=dict(
            type='TokenSimilarityLoss',
            temperature=0.07,
            inputs=dict(student='student.tokens', teacher='teacher.tokens'))))
find_unused_parameters = False
