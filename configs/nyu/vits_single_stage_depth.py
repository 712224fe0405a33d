# Row "single_stage", ViT-S: distilled on the task from random weights, without stage 1.
_base_ = './g2sd_vits_depth.py'

model = dict(backbone=dict(init_cfg=None))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=1.0))
