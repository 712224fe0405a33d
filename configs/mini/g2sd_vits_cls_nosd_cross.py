# The demo's row with the mini suite's schedule: for --add, see docs/students.md.
_base_ = '../shapes/g2sd_vits_cls_nosd_cross.py'

train_cfg = dict(max_epochs=20, val_interval=20)
