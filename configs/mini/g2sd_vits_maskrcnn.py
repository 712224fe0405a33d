# G2SD, detection: the demo's for 1,500 updates.
_base_ = '../shapes/g2sd_vits_maskrcnn.py'

distillation = dict(teacher=dict(config='configs/mini/vitb_maskrcnn.py'))
train_cfg = dict(max_iters=1500, val_interval=1500)
