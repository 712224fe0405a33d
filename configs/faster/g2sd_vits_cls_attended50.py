# Stage 2 whose teacher sees the half of the patches that the student's class token attends to
# (MaskedKD, arXiv 2302.10494; not in the paper): see docs/performance.md.
_base_ = '../imagenet/g2sd_vits_cls.py'

distillation = dict(teacher_patches=dict(share=0.5))
