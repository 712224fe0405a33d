# Stage 2 of a convolutional student at demo size: the teacher's decisions beside the labels.
_base_ = './g2sd_convnext_cls_nosd.py'

model = dict(head=dict(loss=dict(loss_weight=0.5)))
distillation = dict(
    teacher=dict(
        config='configs/shapes/vitb_cls.py',
        checkpoint='work_dirs/vitb_cls/weights.pth',
        forward=('backbone', 'head')),
    taps=dict(logits='head.fc'),
    losses=dict(
        loss_dist=dict(type='HardDistillationLoss', tap='logits', loss_weight=0.5)))
