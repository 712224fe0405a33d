# G2SD with an inherited head, segmentation: the demo's, as long as every row of the task.
_base_ = '../shapes/g2sd_vits_upernet.py'

distillation = dict(teacher=dict(config='configs/mini/vitb_upernet.py'))
train_cfg = dict(max_iters=4000, val_interval=4000)
