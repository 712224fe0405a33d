# Row "relation", pre-training: which patches are alike, behind a linear map.
_base_ = '../shapes/g2sd_vits_generic_unmasked.py'

distillation = dict(
    taps=dict(tokens=dict(_delete_=True, student='norm')),
    adapters=dict(
        tokens=dict(_delete_=True, type='TokenAdapter', in_channels=64, out_channels=128)),
    losses=dict(
        _delete_=True,
        loss_relation=dict(
            type='TokenSimilarityLoss',
            temperature=0.07,
            inputs=dict(student='student.tokens', teacher='teacher.tokens'))))
train_cfg = dict(max_epochs=60)
