# Row "frs", detection: stage 2 by features alone, of a student that was pre-trained alone.
_base_ = '../coco/g2sd_vits_maskrcnn.py'

model = dict(backbone=dict(init_cfg=dict(checkpoint='work_dirs/vits_mae/weights.pth')))
distillation = dict(losses=dict(loss_objectness=None))
