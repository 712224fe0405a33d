# Stage 1 supervised on the hidden patches only (published: all tokens).
_base_ = '../imagenet/g2sd_vits_generic.py'

distillation = dict(losses=dict(loss_tokens=dict(tokens='masked')))
