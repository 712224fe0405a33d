# Row "single_stage", segmentation: distilled on the task from random weights, without stage 1.
_base_ = './g2sd_vits_upernet.py'

model = dict(backbone=dict(init_cfg=None))
