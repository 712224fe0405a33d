# Stage 2, ViT-L -> ViT-S.
_base_ = './g2sd_vits_upernet.py'

distillation = dict(
    teacher=dict(
        config='configs/ade20k/vitl_upernet.py',
        checkpoint='work_dirs/vitl_upernet/weights.pth'))
