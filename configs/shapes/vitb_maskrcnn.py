# The demo's detection teacher, fine-tuned from its MAE.
_base_ = [
    '../_base_/shapes_vitdet_recipe.py', '../_base_/shapes_maskrcnn.py',
    '../_base_/shapes_instances.py'
]

model = dict(
    backbone=dict(
        arch='demo-teacher',
        init_cfg=dict(type='Pretrained', checkpoint='work_dirs/vitb_mae/weights.pth')),
    neck=dict(in_channels=128))
