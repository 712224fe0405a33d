# MAE pre-training of the mini suite's teacher: the demo's, four times as long.
_base_ = '../shapes/vitb_mae.py'

train_cfg = dict(max_epochs=60)
