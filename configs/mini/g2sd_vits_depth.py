# G2SD, depth, for 2,000 updates; its head starts from random weights.
_base_ = ['./g2sd_vits_depth_nosd.py', '../_base_/depth_distillation.py']

distillation = dict(
    teacher=dict(config='configs/mini/vitb_depth.py'),
    adapters=dict(tokens=dict(in_channels=64, out_channels=128)))
