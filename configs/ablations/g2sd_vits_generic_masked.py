# Stage 1 supervised on the hidden patches only (published: all tokens).
_base_ = '../imagenet/g2sd_vits_generic.py'

model = dict(supervise='masked')
