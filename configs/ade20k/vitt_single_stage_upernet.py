# Row "single_stage", ViT-Ti: distilled on the task from random weights, without stage 1.
_base_ = './g2sd_vitt_upernet.py'

model = dict(backbone=dict(init_cfg=None))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=1.0))
