# G2SD without stage 2 at demo size.
_base_ = './vitb_cls.py'

model = dict(
    backbone=dict(
        arch='demo-student',
        init_cfg=dict(checkpoint='work_dirs/g2sd_vits_generic/weights.pth')),
    head=dict(in_channels=64))
