# Stage 2, ViTDet-B -> ViTDet-S: the student of stage 1 from DINOv2; all else as there.
_base_ = './g2sd_vits_maskrcnn.py'

model = dict(
    backbone=dict(init_cfg=dict(checkpoint='work_dirs/g2sd_vits_generic_dinov2/weights.pth')))
