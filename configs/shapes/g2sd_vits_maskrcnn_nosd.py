# Detection without stage 2 at demo size.
_base_ = [
    '../_base_/shapes_vitdet_recipe.py', '../_base_/shapes_maskrcnn.py',
    '../_base_/shapes_instances.py'
]

model = dict(
    backbone=dict(
        init_cfg=dict(type='Pretrained', checkpoint='work_dirs/g2sd_vits_generic/weights.pth')))
