# Row "deit": hard labels of a convolutional teacher, each image three times in a third of the
# passes' images (repeated augmentation).
_base_ = './vits_deit_mae_cls.py'

train_dataloader = dict(sampler=dict(repeats=3))
distillation = dict(
    teacher=dict(
        config='configs/mini/regnety_cls.py',
        checkpoint='work_dirs/regnety_cls/weights.pth',
        forward=('backbone', 'neck', 'head')))
