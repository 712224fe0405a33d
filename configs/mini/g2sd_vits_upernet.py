# G2SD, segmentation: the demo's for 4,000 updates.
_base_ = '../shapes/g2sd_vits_upernet.py'

distillation = dict(teacher=dict(config='configs/mini/vitb_upernet.py'))
train_cfg = dict(max_iters=4000, val_interval=4000)
