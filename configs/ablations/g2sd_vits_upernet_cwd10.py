# Stage 2 of segmentation with the weight of the published config files (their command lines say 3).
_base_ = '../ade20k/g2sd_vits_upernet.py'

distillation = dict(losses=dict(loss_cwd=dict(loss_weight=10.0)))
