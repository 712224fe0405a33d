# ImageNet without labels, for stage 1 and MAE pre-training: 8 GPUs x 256 images.
data_layout = 'data/imagenet/train/<class>/*.JPEG (labels are not read)'

train_pipeline = [
    # mmpretrain's LoadImageFromFile, RandomResizedCrop and RandomFlip, faster: docs/performance.md
    dict(
        type='LoadRandomResizedCrop',
        scale=224,
        crop_ratio_range=(0.2, 1.0),
        interpolation='bicubic',
        flip_prob=0.5,
        planes=True),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=256,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='SeededSampler', shuffle=True),
    dataset=dict(
        type='SeededDataset',
        dataset=dict(
            type='CustomDataset',
            data_root='data/imagenet/train',
            with_label=False,
            pipeline=train_pipeline)))
