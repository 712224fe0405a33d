# Stage 1 with a second loss on the encoder's features of the visible tokens. The release computes
# it and multiplies it by 0.
_base_ = '../imagenet/g2sd_vits_generic.py'

distillation = dict(
    taps=dict(encoder=dict(student='norm', teacher='blocks.-1')),
    adapters=dict(encoder=dict(type='MlpAdapter', in_channels=384, out_channels=768)),
    losses=dict(loss_encoder=dict(type='SmoothL1FeatureLoss', tap='encoder', beta=2.0)))
