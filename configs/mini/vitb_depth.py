# Teacher of depth, for 3,500 updates: longer than its students, so that it is ahead of them.
_base_ = '../shapes/vitb_depth.py'

train_cfg = dict(max_iters=3500, val_interval=3500)
