# Stage 2 of a convolutional student on detection at demo size.
_base_ = ['./g2sd_convnext_maskrcnn_nosd.py', '../_base_/shapes_maskrcnn_distillation.py']
