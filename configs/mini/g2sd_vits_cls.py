# G2SD, classification: the student of every other row (mean of the patches), and NKD. In so short a
# run the class and dist tokens of the published student cost more than the teacher brings.
_base_ = './g2sd_vits_cls_nosd.py'

model = dict(head=dict(loss=dict(loss_weight=0.0)))  # NKD replaces the task loss
distillation = dict(
    teacher=dict(
        config='configs/mini/vitb_cls.py',
        checkpoint='work_dirs/vitb_cls/weights.pth',
        forward=('backbone', 'head')),
    taps=dict(logits=dict(student='head.fc', teacher='head.fc')),
    losses=dict(
        loss_nkd=dict(
            type='NKDLoss',
            tap='logits',
            tau=2.0,
            alpha=0.5,  # weight of the wrong classes: alpha tau^2 = 2
            inputs=dict(target=('batch.gt_score', 'batch.gt_label')))))
