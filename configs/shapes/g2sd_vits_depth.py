# Stage 2 at demo size: labels, the teacher's depth at every pixel, and its last tokens.
_base_ = './g2sd_vits_depth_nosd.py'

distillation = dict(
    teacher=dict(
        config='configs/shapes/vitb_depth.py',
        checkpoint='work_dirs/vitb_depth/weights.pth',
        forward=('backbone', 'decode_head')),
    taps=dict(log_depth='decode_head.log_depth', tokens='backbone.blocks.-1'),
    adapters=dict(tokens=dict(type='TokenAdapter', in_channels=64, out_channels=128)),
    losses=dict(
        loss_log_depth=dict(type='LogDepthLoss', tap='log_depth', loss_weight=1.0),
        # of standardised tokens; about 0.25 for a constant answer
        loss_tokens=dict(
            type='SmoothL1FeatureLoss', tap='tokens', beta=2.0, target='layernorm',
            tokens='patches', loss_weight=0.3)))
