# Stage 1 of the mini suite: the demo's, four times as long.
_base_ = '../shapes/g2sd_vits_generic.py'

train_cfg = dict(max_epochs=60)
