# Row "mae_student", detection: pre-trained alone instead of by stage 1.
_base_ = './g2sd_vits_maskrcnn_nosd.py'

model = dict(backbone=dict(init_cfg=dict(checkpoint='work_dirs/vits_mae/weights.pth')))
