# Stage 1 without masking: both networks see every patch (published: a quarter of them).
_base_ = '../imagenet/g2sd_vits_generic.py'

model = dict(mask_ratio=0.0)
