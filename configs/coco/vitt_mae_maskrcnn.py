# Row "mae_student", ViTDet-Ti: pre-trained alone instead of by stage 1.
_base_ = './g2sd_vitt_maskrcnn_nosd.py'

model = dict(backbone=dict(init_cfg=dict(checkpoint='work_dirs/vitt_mae/weights.pth')))
