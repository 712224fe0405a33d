# Stage 1 of a convolutional student at demo size: the last map of a small ConvNeXt predicts the
# patches of the teacher's encoder, which sees all of the image.
_base_ = [
    '../_base_/shapes_pretrain_recipe.py', '../_base_/shapes_pretrain_data.py',
    '../_base_/feature_distillation.py'
]

model = dict(
    model='convnext_atto',
    depths=(1, 1, 2, 1),
    dims=(16, 32, 64, 128),
    # images of 56 px: the last stages dilate instead of halving, so that maps keep the 7 x 7
    # positions of the teacher's patches; weights have the same shapes without it
    output_stride=8)
distillation = dict(
    teacher=dict(
        type='EncoderTeacher',
        arch='demo-teacher',
        img_size=56,
        checkpoint='work_dirs/vitb_mae/weights.pth'),
    adapters=dict(patches=dict(in_channels=128, out_channels=128)))
