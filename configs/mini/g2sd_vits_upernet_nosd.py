# G2SD without stage 2, segmentation: the demo's for 4,000 updates, as every row of the task.
_base_ = '../shapes/g2sd_vits_upernet_nosd.py'

train_cfg = dict(max_iters=4000, val_interval=4000)
