# G2SD without stage 2 at demo size.
_base_ = [
    '../_base_/shapes_finetune_recipe.py', '../_base_/plain_classifier.py',
    '../_base_/shapes_finetune_data.py'
]

model = dict(
    backbone=dict(
        arch='demo-student',
        img_size=56,
        init_std=0.1,
        init_cfg=dict(type='Pretrained', checkpoint='work_dirs/g2sd_vits_generic/weights.pth')),
    head=dict(in_channels=64),
    train_cfg=None)  # mixing does not pay in so few epochs
