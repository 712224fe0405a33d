# G2SD, classification: the demo's for 40 epochs.
_base_ = '../shapes/g2sd_vits_cls.py'

distillation = dict(teacher=dict(config='configs/mini/vitb_cls.py'))
train_cfg = dict(max_epochs=40, val_interval=40)
