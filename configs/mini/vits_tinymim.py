# Row "tinymim", pre-training: relations of queries to keys and of values in the last layer.
_base_ = '../shapes/g2sd_vits_generic_unmasked.py'

distillation = dict(
    taps=dict(_delete_=True, qkv='blocks.-1.attn.qkv'),
    adapters=None,
    losses=dict(
        _delete_=True,
        # the sum of the two, in as many heads as the teacher has
        loss_relation=dict(
            type='TokenRelationLoss', tap='qkv', heads=4, pairs=('qk', 'vv'), loss_weight=2.0)))
train_cfg = dict(max_epochs=60)
find_unused_parameters = True  # nothing is asked of what is behind the last layer's values
