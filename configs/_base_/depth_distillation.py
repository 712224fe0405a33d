# Stage 2 on depth: labels, the teacher's depth at every pixel, and its last tokens. total =
# scale-invariant loss of measured depth + mean difference of the log-depth maps + 0.3 of the last
# tokens'.
distillation = dict(
    teacher=dict(
        checkpoint='work_dirs/vitb_depth/weights.pth', forward=('backbone', 'decode_head')),
    taps=dict(log_depth='decode_head.log_depth', tokens='backbone.blocks.-1'),
    adapters=dict(tokens=dict(type='TokenAdapter')),
    losses=dict(
        loss_log_depth=dict(type='LogDepthLoss', tap='log_depth', loss_weight=1.0),
        # of standardised tokens; about 0.25 for a constant answer
        loss_tokens=dict(
            type='SmoothL1FeatureLoss', tap='tokens', beta=2.0, target='layernorm',
            tokens='patches', loss_weight=0.3)))
