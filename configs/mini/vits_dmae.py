# Row "dmae", pre-training: pixels as in MAE, and the visible tokens of the teacher's encoder at
# three quarters of its depth, all else as in stage 1.
_base_ = './g2sd_vits_generic.py'

model = dict(pixels=True)
distillation = dict(
    teacher=dict(until='blocks.2'),
    taps=dict(_delete_=True, encoder='blocks.2'),
    adapters=dict(
        _delete_=True, encoder=dict(type='TokenAdapter', in_channels=64, out_channels=128)),
    losses=dict(_delete_=True, loss_encoder=dict(type='UnitL1FeatureLoss', tap='encoder')))
