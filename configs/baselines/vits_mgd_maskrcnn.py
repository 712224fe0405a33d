# Row "mgd", detection: the pyramid, generated from half of it.
_base_ = '../coco/g2sd_vits_maskrcnn.py'

model = dict(backbone=dict(init_cfg=dict(checkpoint='work_dirs/vits_mae/weights.pth')))
distillation = dict(
    taps=dict(_delete_=True, pyramid='neck'),
    adapters=None,
    losses=dict(
        _delete_=True,
        loss_mgd=dict(
            type='MaskedGenerationLoss',
            tap='pyramid',
            channels=256,
            levels=5,
            mask_ratio=0.45,
            loss_weight=5e-7)))
