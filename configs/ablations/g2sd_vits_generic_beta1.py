# Stage 1 with torch's default Smooth-L1, beta 1 (published: beta 2).
_base_ = '../imagenet/g2sd_vits_generic.py'

distillation = dict(losses=dict(loss_tokens=dict(beta=1.0)))
