# G2SD, depth: the demo's for 2,000 updates.
_base_ = '../shapes/g2sd_vits_depth.py'

distillation = dict(teacher=dict(config='configs/mini/vitb_depth.py'))
train_cfg = dict(max_iters=2000, val_interval=2000)
