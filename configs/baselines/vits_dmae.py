# Row "dmae", pre-training, ViT-B -> ViT-S: pixels as in MAE, and the visible tokens of the
# teacher's encoder at three quarters of its depth, all else as in stage 1.
_base_ = '../imagenet/g2sd_vits_generic.py'

model = dict(pixels=True)
distillation = dict(
    teacher=dict(until='blocks.8', checkpoint='work_dirs/vitb_mae/weights.pth'),
    taps=dict(_delete_=True, encoder='blocks.8'),
    adapters=dict(
        _delete_=True, encoder=dict(type='TokenAdapter', in_channels=384, out_channels=768)),
    losses=dict(_delete_=True, loss_encoder=dict(type='UnitL1FeatureLoss', tap='encoder')))
