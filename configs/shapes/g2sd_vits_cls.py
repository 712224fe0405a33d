# Stage 2 at demo size: the student of every other row (mean of the patches) learns from the
# teacher's logits (NKD) and last tokens. In so short a run the class and dist tokens of the
# published student cost more than the teacher brings, and ten logits an image say too little of
# what it knows.
_base_ = './g2sd_vits_cls_nosd.py'

model = dict(head=dict(loss=dict(loss_weight=0.0)))  # NKD replaces the task loss
distillation = dict(
    teacher=dict(
        config='configs/shapes/vitb_cls.py',
        checkpoint='work_dirs/vitb_cls/weights.pth',
        forward=('backbone', 'head')),
    taps=dict(logits='head.fc', tokens='backbone.blocks.3'),
    adapters=dict(tokens=dict(type='TokenAdapter', in_channels=64, out_channels=128)),
    losses=dict(
        # as in stage 1; 0.25 before anything is learnt, so times 10 it is of the order of NKD
        loss_tokens=dict(type='SmoothL1FeatureLoss', tap='tokens', loss_weight=10.0),
        loss_nkd=dict(
            type='NKDLoss',
            tap='logits',
            tau=2.0,
            alpha=0.5,  # weight of the wrong classes: alpha tau^2 = 2
            inputs=dict(target=('batch.gt_score', 'batch.gt_label')))))
