# ImageNet for fine-tuning: 8 GPUs x 128 images.
num_classes = 1000
data_layout = 'data/imagenet/train/<class>/*.JPEG and data/imagenet/val/<class>/*.JPEG'

train_pipeline = [
    # mmpretrain's LoadImageFromFile, RandomResizedCrop and RandomFlip, faster: docs/performance.md
    dict(type='LoadRandomResizedCrop', scale=224, interpolation='bicubic', flip_prob=0.5),
    # timm's rand-m9-mstd0.5-inc1: two operations, each with probability 0.5
    dict(
        type='RandAugment',
        policies='timm_increasing_fast',
        num_policies=2,
        total_level=10,
        magnitude_level=9,
        magnitude_std=0.5,
        hparams=dict(pad_val=[104, 116, 124], interpolation='bicubic')),
    # fills with noise of the data's mean and deviation: N(0, 1) after normalisation, but for what
    # 8 bits cut off (deviation 0.97)
    dict(
        type='FastRandomErasing',
        erase_prob=0.25,
        mode='rand',
        min_area_ratio=0.02,
        max_area_ratio=1 / 3,
        fill_color=[103.53, 116.28, 123.675],
        fill_std=[57.375, 57.12, 58.395]),
    dict(type='SplitPlanes'),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='ResizeEdge', scale=256, edge='short', backend='pillow', interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=128,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='SeededSampler', shuffle=True),
    dataset=dict(
        type='SeededDataset',
        dataset=dict(
            type='CustomDataset', data_root='data/imagenet/train', pipeline=train_pipeline)))
val_dataloader = dict(
    batch_size=128,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    collate_fn=dict(type='default_collate'),
    # every image once: mmengine cuts the padded ones off again
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='CustomDataset', data_root='data/imagenet/val', pipeline=test_pipeline))
test_dataloader = val_dataloader
