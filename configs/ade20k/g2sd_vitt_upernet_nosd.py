# G2SD without stage 2: the stage-1 ViT-Ti, fine-tuned plainly. A distilled student's weights run in
# this config too. For this row the paper prints lr 5e-4, layer decay 0.75 and batch 32 (by its
# authors a misprint for 16); the released config, followed here, has 1e-4, 0.65 and 16.
_base_ = [
    '../_base_/ade20k_upernet.py', '../_base_/ade20k_data.py', '../_base_/ade20k_recipe.py'
]

model = dict(
    backbone=dict(
        arch='tiny',
        init_cfg=dict(type='Pretrained', checkpoint='work_dirs/g2sd_vitt_generic/weights.pth')),
    neck=dict(embed_dim=192),
    decode_head=dict(in_channels=[192, 192, 192, 192], channels=192),
    auxiliary_head=dict(in_channels=192))
