# Row "tinybert", general stage, ViT-B -> ViT-S with 12 heads: attention before the softmax of all
# heads, and hidden states through one shared map, of the MAE encoder, which sees all patches.
_base_ = ['../_base_/pretrain_recipe.py', '../_base_/imagenet_pretrain_data.py']

model = dict(
    type='MaskedStudent', arch=dict(embed_dim=384, depth=12, num_heads=12), decoder=None,
    mask_ratio=0)
_hidden = ('blocks.0:input', 'blocks.*')
distillation = dict(
    teacher=dict(
        type='EncoderTeacher', arch='base', checkpoint='work_dirs/vitb_mae/weights.pth'),
    taps=dict(
        scores=dict(student='blocks.*.attn:scores', teacher='blocks.*.attn:scores'),
        hidden=dict(student=_hidden, teacher=_hidden)),
    adapters=dict(hidden=dict(type='TokenAdapter', in_channels=384, out_channels=768)),
    losses=dict(
        loss_scores=dict(type='LayerwiseMSELoss', tap='scores'),
        loss_hidden=dict(type='LayerwiseMSELoss', tap='hidden', with_embedding=True)))
find_unused_parameters = True  # nothing is asked of the norm behind the last layer
