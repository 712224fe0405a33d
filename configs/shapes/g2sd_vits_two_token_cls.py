# Stage 2 as published, at demo size: a class and a dist token, and hard decisions of the teacher.
_base_ = [
    '../_base_/shapes_finetune_recipe.py', '../_base_/two_token_classifier.py',
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
distillation = dict(
    teacher=dict(
        config='configs/shapes/vitb_cls.py',
        checkpoint='work_dirs/vitb_cls/weights.pth',
        forward=('backbone', 'head')),
    taps=dict(logits=dict(student='head.layers.head_dist', teacher='head.fc')),
    losses=dict(
        loss_dist=dict(type='HardDistillationLoss', tap='logits', loss_weight=0.5)))
