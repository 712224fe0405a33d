# Stage 2, ViT-B -> ViT-S. total = scale-invariant loss of measured depth + mean difference of the
# log-depth maps + 0.3 of the last tokens'. Not published: weights as at demo size.
_base_ = './g2sd_vits_depth_nosd.py'

distillation = dict(
    teacher=dict(
        config='configs/nyu/vitb_depth.py',
        checkpoint='work_dirs/vitb_depth/weights.pth',
        forward=('backbone', 'decode_head')),
    taps=dict(log_depth='decode_head.log_depth', tokens='backbone.blocks.-1'),
    adapters=dict(tokens=dict(type='TokenAdapter', in_channels=384, out_channels=768)),
    losses=dict(
        loss_log_depth=dict(type='LogDepthLoss', tap='log_depth', loss_weight=1.0),
        loss_tokens=dict(
            type='SmoothL1FeatureLoss', tap='tokens', beta=2.0, target='layernorm',
            tokens='patches', loss_weight=0.3)))
