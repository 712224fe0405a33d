# Stage 1 with the mean absolute difference (published: Smooth-L1 with beta 2).
_base_ = '../imagenet/g2sd_vits_generic.py'

distillation = dict(losses=dict(loss_tokens=dict(beta=0.0)))
