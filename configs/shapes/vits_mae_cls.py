# Row "mae_student", fine-tuned, at demo size.
_base_ = './g2sd_vits_cls_nosd.py'

model = dict(backbone=dict(init_cfg=dict(checkpoint='work_dirs/vits_mae/weights.pth')))
