# Row "tinybert", task stage, second part: soft labels alone, for 5 of the 20 epochs.
_base_ = './g2sd_vits_cls_nosd.py'

model = dict(
    backbone=dict(
        arch=dict(_delete_=True, embed_dim=64, depth=4, num_heads=4, patch_size=8),
        init_cfg=dict(checkpoint='work_dirs/vits_tinybert_task/weights.pth')),
    head=dict(loss=dict(loss_weight=0.0)))
distillation = dict(
    teacher=dict(
        config='configs/mini/vitb_cls.py',
        checkpoint='work_dirs/vitb_cls/weights.pth',
        forward=('backbone', 'head')),
    taps=dict(logits='head.fc'),
    losses=dict(
        loss_kd=dict(type='SoftDistillationLoss', tap='logits', tau=1.0, reduction='mean')))
train_cfg = dict(max_epochs=5, val_interval=5)
