# G2SD without stage 2: the stage-1 student, fine-tuned plainly.
# The published plain recipe: weight decay 0.1, layer decay 0.7, drop path 0.1, mixed precision.
_base_ = [
    '../_base_/vitdet_recipe.py', '../_base_/maskrcnn_vitdet.py', '../_base_/coco_instances.py'
]

model = dict(
    backbone=dict(
        init_cfg=dict(type='Pretrained', checkpoint='work_dirs/g2sd_vits_generic/weights.pth')))
