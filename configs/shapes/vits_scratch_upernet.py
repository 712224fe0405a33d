# Row "scratch" at demo size: labels alone, nothing pre-trained.
_base_ = './g2sd_vits_upernet_nosd.py'

model = dict(backbone=dict(init_cfg=None))
