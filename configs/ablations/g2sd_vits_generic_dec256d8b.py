# Stage 1 with a student decoder of 8 blocks of width 256 (published: 4 of 256).
_base_ = '../imagenet/g2sd_vits_generic.py'

model = dict(decoder='dec256d8b')
