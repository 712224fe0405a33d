# Row "mgd", detection: the pyramid, generated from half of it.
_base_ = './g2sd_vits_maskrcnn.py'

model = dict(backbone=dict(init_cfg=dict(checkpoint='work_dirs/vits_mae/weights.pth')))
distillation = dict(
    taps=dict(_delete_=True, pyramid='neck'),
    adapters=None,
    losses=dict(
        _delete_=True,
        # sums over 64 x 32 x 32 elements of the finest level instead of 256 x 256 x 256, so 5e-7
        # times 256
        loss_mgd=dict(
            type='MaskedGenerationLoss',
            tap='pyramid',
            channels=64,
            levels=4,
            mask_ratio=0.45,
            loss_weight=1.3e-4)))
