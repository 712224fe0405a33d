# Row "deit_mae": DeiT's loss and two tokens with the teacher of all other rows, a ViT from MAE. It
# is the paper's row "single_stage", which in this suite is stage 2 as it is here.
_base_ = '../shapes/vits_single_stage.py'

distillation = dict(teacher=dict(config='configs/mini/vitb_cls.py'))
train_cfg = dict(max_epochs=20, val_interval=20)
