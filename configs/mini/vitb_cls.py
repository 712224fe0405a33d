# Teacher of classification: the demo's for 40 epochs.
_base_ = '../shapes/vitb_cls.py'

train_cfg = dict(max_epochs=40, val_interval=40)
