# Stage 1 at demo size without masking and decoder: the encoder's tokens predict the teacher's.
_base_ = [
    '../_base_/shapes_pretrain_recipe.py', '../_base_/shapes_pretrain_data.py',
    '../_base_/generic_distillation.py'
]

model = dict(arch='demo-student', decoder=None, mask_ratio=0, img_size=56)
distillation = dict(
    teacher=dict(
        type='EncoderTeacher',
        arch='demo-teacher',
        img_size=56,
        checkpoint='work_dirs/vitb_mae/weights.pth'),
    taps=dict(tokens=dict(student='norm', teacher='norm')),
    adapters=dict(tokens=dict(in_channels=64, out_channels=128)),
    losses=dict(loss_tokens=dict(tokens='patches')))
