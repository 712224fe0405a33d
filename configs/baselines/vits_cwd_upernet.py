# Row "cwd", segmentation: stage 2 as it is, of a student that was pre-trained alone.
_base_ = '../ade20k/g2sd_vits_upernet.py'

model = dict(backbone=dict(init_cfg=dict(checkpoint='work_dirs/vits_mae/weights.pth')))
