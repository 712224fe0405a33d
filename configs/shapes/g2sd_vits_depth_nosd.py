# G2SD without stage 2 at demo size.
_base_ = [
    '../_base_/shapes_depth_dpt.py', '../_base_/shapes_depth_data.py',
    '../_base_/shapes_depth_recipe.py'
]

model = dict(
    backbone=dict(
        init_cfg=dict(type='Pretrained', checkpoint='work_dirs/g2sd_vits_generic/weights.pth')))
