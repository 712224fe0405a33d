# Stage 1 with a student decoder of 4 blocks of width 128 (published: 4 of 256).
_base_ = '../imagenet/g2sd_vits_generic.py'

model = dict(decoder='dec128d4b')
distillation = dict(adapters=dict(tokens=dict(in_channels=128)))
