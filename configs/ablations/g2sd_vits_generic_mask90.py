# Stage 1 with 90 % of the patches hidden (published: 75 %).
_base_ = '../imagenet/g2sd_vits_generic.py'

model = dict(mask_ratio=0.9)
