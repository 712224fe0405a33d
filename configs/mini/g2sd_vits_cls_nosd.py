# G2SD without stage 2, classification: the demo's for 20 epochs, as every student of the task: half
# as long as their teacher, so that it is ahead of them.
_base_ = '../shapes/g2sd_vits_cls_nosd.py'

train_cfg = dict(max_epochs=20, val_interval=20)
