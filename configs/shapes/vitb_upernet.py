# The demo's teacher of stage 2, fine-tuned from its MAE.
_base_ = [
    '../_base_/shapes_upernet.py', '../_base_/shapes_seg_data.py',
    '../_base_/shapes_seg_recipe.py'
]

model = dict(
    backbone=dict(
        arch='demo-teacher',
        init_cfg=dict(type='Pretrained', checkpoint='work_dirs/vitb_mae/weights.pth')),
    neck=dict(embed_dim=128),
    decode_head=dict(in_channels=[128, 128, 128, 128]),
    auxiliary_head=dict(in_channels=128))
