# Teacher of segmentation: the demo's for 1,000 updates.
_base_ = '../shapes/vitb_upernet.py'

train_cfg = dict(max_iters=1000, val_interval=1000)
