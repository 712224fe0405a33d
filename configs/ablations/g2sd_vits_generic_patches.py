# Stage 1 supervised on all patches but not the class token (published: all tokens).
_base_ = '../imagenet/g2sd_vits_generic.py'

distillation = dict(losses=dict(loss_tokens=dict(tokens='patches')))
