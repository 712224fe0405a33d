# The demo's teacher of stage 2, fine-tuned from its MAE.
_base_ = [
    '../_base_/shapes_finetune_recipe.py', '../_base_/plain_classifier.py',
    '../_base_/shapes_finetune_data.py'
]

model = dict(
    backbone=dict(
        arch='demo-teacher',
        img_size=64,
        init_std=0.1,
        init_cfg=dict(type='Pretrained', checkpoint='work_dirs/vitb_mae/weights.pth')),
    head=dict(in_channels=128),
    train_cfg=None)  # mixing does not pay in so few epochs
