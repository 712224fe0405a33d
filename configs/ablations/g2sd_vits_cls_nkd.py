# Stage 2 with normalised knowledge distillation on the class token instead of hard labels.
_base_ = '../imagenet/g2sd_vits_cls.py'

# NKD replaces the task loss; prediction is the class token's alone
model = dict(head=dict(average=False, loss=dict(loss_weight=0.0)))
distillation = dict(
    taps=dict(logits=dict(student='head.layers.head')),
    losses=dict(
        _delete_=True,
        loss_nkd=dict(
            type='NKDLoss',
            tap='logits',
            inputs=dict(target=('batch.gt_score', 'batch.gt_label')))))
