# G2SD, detection: as published, for 1,500 updates.
_base_ = ['./g2sd_vits_maskrcnn_nosd.py', '../_base_/shapes_maskrcnn_distillation.py']

distillation = dict(teacher=dict(config='configs/mini/vitb_maskrcnn.py'))
