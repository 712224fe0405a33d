# Stage 2, ViT-B -> ViT-Ti: the student of stage 1 from SigLIP 2; all else as there.
_base_ = './g2sd_vitt_cls.py'

model = dict(
    backbone=dict(init_cfg=dict(checkpoint='work_dirs/g2sd_vitt_generic_siglip2/weights.pth')))
