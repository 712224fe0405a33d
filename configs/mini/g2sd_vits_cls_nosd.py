# G2SD without stage 2, classification: the demo's for 40 epochs, as every row of the task.
_base_ = '../shapes/g2sd_vits_cls_nosd.py'

train_cfg = dict(max_epochs=40, val_interval=40)
