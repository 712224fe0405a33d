# Stage 2, ViT-B -> ViT-S: class token learns the labels, dist token the teacher's decisions.
# total = (label-smoothing CE + CE to the teacher's most likely class) / 2
_base_ = [
    '../_base_/finetune_recipe.py', '../_base_/two_token_classifier.py',
    '../_base_/imagenet_finetune_data.py'
]

model = dict(
    backbone=dict(
        init_cfg=dict(type='Pretrained', checkpoint='work_dirs/g2sd_vits_generic/weights.pth')))
distillation = dict(
    teacher=dict(
        config='configs/imagenet/vitb_cls.py',
        checkpoint='work_dirs/vitb_cls/weights.pth',
        forward=('backbone', 'head')),
    taps=dict(logits=dict(student='head.layers.head_dist', teacher='head.fc')),
    losses=dict(
        loss_dist=dict(type='HardDistillationLoss', tap='logits', loss_weight=0.5)))
