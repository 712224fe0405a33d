# Row "tinybert", general stage: attention before the softmax of all heads, and hidden states
# through one shared map, of the MAE encoder. The student has as many heads as its teacher.
_base_ = '../shapes/g2sd_vits_generic_unmasked.py'

model = dict(arch=dict(_delete_=True, embed_dim=64, depth=4, num_heads=4, patch_size=8))
_hidden = ('blocks.0:input', 'blocks.*')
distillation = dict(
    taps=dict(
        _delete_=True,
        scores=dict(student='blocks.*.attn:scores', teacher='blocks.*.attn:scores'),
        hidden=dict(student=_hidden, teacher=_hidden)),
    adapters=dict(
        _delete_=True, hidden=dict(type='TokenAdapter', in_channels=64, out_channels=128)),
    losses=dict(
        _delete_=True,
        loss_scores=dict(type='LayerwiseMSELoss', tap='scores'),
        loss_hidden=dict(type='LayerwiseMSELoss', tap='hidden', with_embedding=True)))
train_cfg = dict(max_epochs=60)
find_unused_parameters = True  # nothing is asked of the norm behind the last layer
