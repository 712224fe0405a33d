# Teacher of detection, for 2,000 updates: longer than its students, so that it is ahead of them.
_base_ = '../shapes/vitb_maskrcnn.py'

train_cfg = dict(max_iters=2000, val_interval=2000)
