# G2SD without stage 2, detection: the demo's for 1,500 updates, as every row of the task.
_base_ = '../shapes/g2sd_vits_maskrcnn_nosd.py'

train_cfg = dict(max_iters=1500, val_interval=1500)
