# G2SD without stage 2, depth: the demo's for 2,000 updates, as every row of the task.
_base_ = '../shapes/g2sd_vits_depth_nosd.py'

train_cfg = dict(max_iters=2000, val_interval=2000)
