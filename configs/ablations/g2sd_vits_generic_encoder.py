# Stage 1 with a second loss on the encoder's features of the visible tokens. The release computes
# it and multiplies it by 0.
_base_ = '../imagenet/g2sd_vits_generic.py'

model = dict(encoder_weight=1.0)
