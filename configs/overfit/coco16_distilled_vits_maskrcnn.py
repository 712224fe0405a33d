# The same detector from random weights, distilled from the one that coco16_vits_maskrcnn gave.
_base_ = ['./coco16_vits_maskrcnn.py', '../_base_/shapes_maskrcnn_distillation.py']

distillation = dict(
    teacher=dict(
        config='configs/overfit/coco16_vits_maskrcnn.py',
        checkpoint='work_dirs/coco16_vits_maskrcnn/weights.pth'))
