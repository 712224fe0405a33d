# The same segmentor from random weights, distilled from the one that masks16_vits_upernet gave.
_base_ = ['./masks16_vits_upernet.py', '../_base_/shapes_upernet_distillation.py']

distillation = dict(
    teacher=dict(
        config='configs/overfit/masks16_vits_upernet.py',
        checkpoint='work_dirs/masks16_vits_upernet/weights.pth'))
