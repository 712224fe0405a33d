# G2SD, classification: the demo's for 20 epochs.
_base_ = '../shapes/g2sd_vits_cls.py'

distillation = dict(teacher=dict(config='configs/mini/vitb_cls.py'))
train_cfg = dict(max_epochs=20, val_interval=20)
