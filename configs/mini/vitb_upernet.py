# Teacher of segmentation: the demo's for 4,000 updates.
_base_ = '../shapes/vitb_upernet.py'

train_cfg = dict(max_iters=4000, val_interval=4000)
