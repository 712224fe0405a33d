# Teacher of segmentation, for 7,000 updates: longer than its students, so that it is ahead of them.
_base_ = '../shapes/vitb_upernet.py'

train_cfg = dict(max_iters=7000, val_interval=7000)
