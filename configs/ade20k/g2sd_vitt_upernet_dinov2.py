# Stage 2, ViT-B -> ViT-Ti: the student of stage 1 from DINOv2; all else as there.
_base_ = './g2sd_vitt_upernet.py'

model = dict(
    backbone=dict(init_cfg=dict(checkpoint='work_dirs/g2sd_vitt_generic_dinov2/weights.pth')))
