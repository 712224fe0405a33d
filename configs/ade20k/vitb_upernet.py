# The teacher of stage 2: ViT-B fine-tuned from MAE.
_base_ = [
    '../_base_/ade20k_upernet.py', '../_base_/ade20k_data.py', '../_base_/ade20k_recipe.py'
]

model = dict(
    backbone=dict(
        arch='base',
        init_cfg=dict(type='Pretrained', checkpoint='work_dirs/vitb_mae/weights.pth')),
    neck=dict(embed_dim=768),
    decode_head=dict(in_channels=[768, 768, 768, 768], channels=768),
    auxiliary_head=dict(in_channels=768))
