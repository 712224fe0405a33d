# The larger teacher: ViT-L, from MAE's encoder (publicly mae_pretrain_vit_large.pth).
_base_ = [
    '../_base_/ade20k_upernet.py', '../_base_/ade20k_data.py', '../_base_/ade20k_recipe.py'
]

model = dict(
    backbone=dict(
        arch='large',
        drop_path_rate=0.2,
        out_indices=(7, 11, 15, 23),
        init_cfg=dict(type='Pretrained', checkpoint='work_dirs/vitl_mae/weights.pth')),
    neck=dict(embed_dim=1024),
    decode_head=dict(in_channels=[1024, 1024, 1024, 1024], channels=1024),
    auxiliary_head=dict(in_channels=1024))
# patches at 0.95 ** 25 = 0.28 of the rate
optim_wrapper = dict(optimizer=dict(lr=2e-5), paramwise_cfg=dict(layer_decay_rate=0.95))
