# G2SD without stage 2, ViTDet-Ti.
_base_ = './g2sd_vits_maskrcnn_nosd.py'

model = dict(
    backbone=dict(
        arch='tiny', init_cfg=dict(checkpoint='work_dirs/g2sd_vitt_generic/weights.pth')),
    neck=dict(in_channels=192))
