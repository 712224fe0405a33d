# The demo's teacher of stage 2, fine-tuned from its MAE.
_base_ = [
    '../_base_/shapes_depth_dpt.py', '../_base_/shapes_depth_data.py',
    '../_base_/shapes_depth_recipe.py'
]

model = dict(
    backbone=dict(
        arch='demo-teacher',
        init_cfg=dict(type='Pretrained', checkpoint='work_dirs/vitb_mae/weights.pth')),
    decode_head=dict(embed_dims=128))
