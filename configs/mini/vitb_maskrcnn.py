# Teacher of detection: the demo's for 1,500 updates.
_base_ = '../shapes/vitb_maskrcnn.py'

# steps at 8/9 and 26/27
param_scheduler = _base_.param_scheduler
param_scheduler[0].milestones = (1333, 1444)
train_cfg = dict(max_iters=1500, val_interval=1500)
