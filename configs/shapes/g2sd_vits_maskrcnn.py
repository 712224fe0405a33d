# Stage 2 on detection at demo size.
_base_ = ['./g2sd_vits_maskrcnn_nosd.py', '../_base_/shapes_maskrcnn_distillation.py']
