# Row "deit": hard labels of RegNetY-16GF for 300 epochs, each image three times in a third of the
# passes' images (repeated augmentation). lr = 5e-4 * 1024 / 512. The row with the MAE teacher is
# imagenet/vits_single_stage.py.
_base_ = '../imagenet/vits_single_stage.py'

model = dict(backbone=dict(drop_path_rate=0.1))
train_dataloader = dict(sampler=dict(repeats=3))
distillation = dict(
    teacher=dict(
        config='configs/baselines/regnety_cls.py',
        checkpoint='work_dirs/regnety_cls/weights.pth',
        forward=('backbone', 'neck', 'head')))
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [
    dict(
        type='WarmupCosineLR',
        warmup=5,
        min_ratio=1e-5 / 1e-3,
        by_epoch=True,
        convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=300)
