# Row "deit_mae": DeiT's loss and two tokens with the teacher of all other rows, a ViT from MAE. It
# is the paper's row "single_stage", which in this suite is stage 2 as it is here.
_base_ = '../shapes/g2sd_vits_two_token_cls.py'

model = dict(backbone=dict(init_cfg=None), head=dict(class_std=0.02))
distillation = dict(teacher=dict(config='configs/mini/vitb_cls.py'))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=1.0))
train_cfg = dict(max_epochs=20, val_interval=20)
