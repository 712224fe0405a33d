# Stage 2 on segmentation at demo size.
_base_ = ['./g2sd_vits_upernet_nosd.py', '../_base_/shapes_upernet_distillation.py']
