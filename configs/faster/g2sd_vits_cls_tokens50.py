# Stage 2 whose teacher sees half of the patches (not in the paper): see docs/performance.md.
_base_ = '../imagenet/g2sd_vits_cls.py'

distillation = dict(teacher=dict(overrides={'model.backbone.visible_share': 0.5}))
