# Stage 2 of a convolutional student on segmentation at demo size.
_base_ = ['./g2sd_convnext_upernet_nosd.py', '../_base_/shapes_upernet_distillation.py']
