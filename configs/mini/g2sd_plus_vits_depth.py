# G2SD with an inherited head, depth: the demo's, as long as every row of the task.
_base_ = '../shapes/g2sd_vits_depth.py'

distillation = dict(teacher=dict(config='configs/mini/vitb_depth.py'))
train_cfg = dict(max_iters=2000, val_interval=2000)
