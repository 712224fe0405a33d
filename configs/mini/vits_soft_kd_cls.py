# Row "soft_kd": labels and the teacher's class probabilities, from random weights.
_base_ = './vits_scratch_cls.py'

distillation = dict(
    teacher=dict(
        config='configs/mini/vitb_cls.py',
        checkpoint='work_dirs/vitb_cls/weights.pth',
        forward=('backbone', 'head')),
    taps=dict(logits='head.fc'),
    losses=dict(loss_kd=dict(type='SoftDistillationLoss', tap='logits', tau=1.0)))
