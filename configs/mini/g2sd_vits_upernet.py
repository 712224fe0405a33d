# G2SD, segmentation: as published, for 4,000 updates.
_base_ = ['./g2sd_vits_upernet_nosd.py', '../_base_/shapes_upernet_distillation.py']

distillation = dict(teacher=dict(config='configs/mini/vitb_upernet.py'))
