# Row "nkd": normalised knowledge distillation, which has the labels in it, from random weights.
_base_ = './vits_soft_kd_cls.py'

model = dict(head=dict(loss=dict(loss_weight=0.0)))
distillation = dict(
    losses=dict(
        _delete_=True,
        loss_nkd=dict(
            type='NKDLoss',
            tap='logits',
            tau=1.0,
            alpha=1.0,
            inputs=dict(target=('batch.gt_score', 'batch.gt_label')))))
