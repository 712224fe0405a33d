# Stage 2, ViT-B -> ViT-S: the student of stage 1 from SigLIP 2; all else as there.
_base_ = './g2sd_vits_upernet.py'

model = dict(
    backbone=dict(init_cfg=dict(checkpoint='work_dirs/g2sd_vits_generic_siglip2/weights.pth')))
