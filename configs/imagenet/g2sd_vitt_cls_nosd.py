# G2SD without stage 2, ViT-Ti.
_base_ = './g2sd_vits_cls_nosd.py'

model = dict(
    backbone=dict(
        arch='tiny',
        init_cfg=dict(checkpoint='work_dirs/g2sd_vitt_generic/weights.pth')),
    head=dict(in_channels=192))
