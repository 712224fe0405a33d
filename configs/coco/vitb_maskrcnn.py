# The teacher of stage 2: ViTDet-B from MAE (published: 51.6 box AP, 45.9 mask AP).
# detectron2's ViTDet-B Mask R-CNN, saved as .pth, loads into it as it is.
_base_ = [
    '../_base_/vitdet_recipe.py', '../_base_/maskrcnn_vitdet.py', '../_base_/coco_instances.py'
]

model = dict(
    backbone=dict(
        arch='base',
        init_cfg=dict(type='Pretrained', checkpoint='work_dirs/vitb_mae/weights.pth')),
    neck=dict(in_channels=768))
