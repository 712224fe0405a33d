# Row "single_stage", classification: distilled on the task from random weights, without stage 1.
_base_ = './g2sd_vits_cls.py'

model = dict(backbone=dict(init_cfg=None), head=dict(init_cfg=dict(std=0.02)))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=1.0))
