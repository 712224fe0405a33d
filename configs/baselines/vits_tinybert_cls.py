# Row "tinybert", task stage, second part: soft labels alone, for 50 of the 200 epochs.
_base_ = '../imagenet/g2sd_vits_cls_nosd.py'

model = dict(
    backbone=dict(
        arch=dict(_delete_=True, embed_dim=384, depth=12, num_heads=12),
        init_cfg=dict(checkpoint='work_dirs/vits_tinybert_task/weights.pth')),
    head=dict(loss=dict(loss_weight=0.0)))
distillation = dict(
    teacher=dict(
        config='configs/imagenet/vitb_cls.py',
        checkpoint='work_dirs/vitb_cls/weights.pth',
        forward=('backbone', 'head')),
    taps=dict(logits='head.fc'),
    losses=dict(
        loss_kd=dict(type='SoftDistillationLoss', tap='logits', tau=1.0, reduction='mean')))
train_cfg = dict(max_epochs=50)
