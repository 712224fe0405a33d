# Row "scratch" at demo size: measured depth alone, nothing pre-trained.
_base_ = './g2sd_vits_depth_nosd.py'

model = dict(backbone=dict(init_cfg=None))
