# The demo's teacher of stage 2, fine-tuned from its MAE.
_base_ = './g2sd_vits_cls_nosd.py'

model = dict(
    backbone=dict(
        arch='demo-teacher', init_cfg=dict(checkpoint='work_dirs/vitb_mae/weights.pth')),
    head=dict(in_channels=128))
