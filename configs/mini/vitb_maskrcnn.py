# Teacher of detection: the demo's for 1,500 updates.
_base_ = '../shapes/vitb_maskrcnn.py'

train_cfg = dict(max_iters=1500, val_interval=1500)
