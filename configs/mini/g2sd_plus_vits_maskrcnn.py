# G2SD with an inherited head, detection: the demo's, as long as every row of the task.
_base_ = '../shapes/g2sd_vits_maskrcnn.py'

distillation = dict(teacher=dict(config='configs/mini/vitb_maskrcnn.py'))
train_cfg = dict(max_iters=1500, val_interval=1500)
