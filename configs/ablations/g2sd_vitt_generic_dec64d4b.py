# Stage 1 for ViT-Ti with a decoder of half the width (published: 4 blocks of 128).
_base_ = '../imagenet/g2sd_vitt_generic.py'

model = dict(decoder='dec64d4b')
distillation = dict(adapters=dict(tokens=dict(in_channels=64)))
