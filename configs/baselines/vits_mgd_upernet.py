# Row "mgd", segmentation: the last features of the head, generated from a quarter of them.
_base_ = '../ade20k/g2sd_vits_upernet.py'

model = dict(backbone=dict(init_cfg=dict(checkpoint='work_dirs/vits_mae/weights.pth')))
distillation = dict(
    taps=dict(_delete_=True, features='decode_head.fpn_bottleneck'),
    losses=dict(
        _delete_=True,
        loss_mgd=dict(
            type='MaskedGenerationLoss',
            tap='features',
            channels=768,
            student_channels=384,
            mask_ratio=0.75,
            loss_weight=2e-5)))
