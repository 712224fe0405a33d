# Row "mae_student", depth: pre-trained alone instead of by stage 1.
_base_ = './g2sd_vits_depth_nosd.py'

model = dict(backbone=dict(init_cfg=dict(checkpoint='work_dirs/vits_mae/weights.pth')))
