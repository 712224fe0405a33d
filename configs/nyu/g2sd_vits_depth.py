# Stage 2 on depth, ViT-B -> ViT-S. Not published: weights as at demo size.
_base_ = ['./g2sd_vits_depth_nosd.py', '../_base_/depth_distillation.py']

distillation = dict(
    teacher=dict(config='configs/nyu/vitb_depth.py'),
    adapters=dict(tokens=dict(in_channels=384, out_channels=768)))
