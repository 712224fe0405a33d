# Row "cwd", detection: where each channel of the pyramid is strong.
_base_ = '../coco/g2sd_vits_maskrcnn.py'

model = dict(backbone=dict(init_cfg=dict(checkpoint='work_dirs/vits_mae/weights.pth')))
distillation = dict(
    taps=dict(_delete_=True, pyramid='neck'),
    losses=dict(
        _delete_=True,
        loss_cwd=dict(type='ChannelWiseDivergence', tap='pyramid', tau=1.0, loss_weight=1.0)))
