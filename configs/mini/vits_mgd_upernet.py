# Row "mgd", segmentation: the last features of the head, generated from a quarter of them.
_base_ = './g2sd_vits_upernet.py'

model = dict(backbone=dict(init_cfg=dict(checkpoint='work_dirs/vits_mae/weights.pth')))
distillation = dict(
    taps=dict(_delete_=True, features='decode_head.fpn_bottleneck'),
    losses=dict(
        _delete_=True,
        # a sum over 32 x 16 x 16 elements instead of 768 x 128 x 128: 2e-5 times 1536
        loss_mgd=dict(
            type='MaskedGenerationLoss',
            tap='features',
            channels=32,
            mask_ratio=0.75,
            loss_weight=0.031)))
