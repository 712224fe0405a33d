# Stage 1 for 200 epochs (published: 300).
_base_ = '../imagenet/g2sd_vits_generic.py'

train_cfg = dict(max_epochs=200)
