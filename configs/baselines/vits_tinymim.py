# Row "tinymim", pre-training, ViT-B -> ViT-S: relations of queries to keys and of values in the
# last layer, in the teacher's 12 heads.
_base_ = './vits_tinybert.py'

model = dict(arch=dict(_delete_=True, embed_dim=384, depth=12, num_heads=6))
distillation = dict(
    taps=dict(_delete_=True, qkv='blocks.-1.attn.qkv'),
    adapters=None,
    losses=dict(
        _delete_=True,
        loss_relation=dict(
            type='TokenRelationLoss', tap='qkv', heads=12, pairs=('qk', 'vv'), loss_weight=2.0)))
