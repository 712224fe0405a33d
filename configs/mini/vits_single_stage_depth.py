# Row "single_stage", depth: distilled on the task from random weights, without stage 1.
_base_ = './g2sd_vits_depth.py'

model = dict(backbone=dict(init_cfg=None))
