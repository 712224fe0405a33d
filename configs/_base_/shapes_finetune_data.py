# Shapes for classification, 64 px, generated on first use. Crops of 56 px make 7 x 7 patches of
# 8 px; batch 64 on one process.
shapes = dict(task='cls', train=4000, val=1000, size=64, seed=0)
num_classes = 10
data_layout = 'data/shapes (generated on first use)'

_folder = 'data/shapes/cls_64px_4000+1000_s0'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    # images of another size are brought to that of Shapes; those of 64 px stay as they are
    dict(type='ResizeEdge', scale=64, edge='short', backend='pillow', interpolation='bicubic'),
    dict(type='RandomCrop', crop_size=56),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=64, edge='short', backend='pillow', interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=56),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=64,
    num_workers=1,
    persistent_workers=True,
    drop_last=True,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='SeededSampler', shuffle=True),
    dataset=dict(
        type='SeededDataset',
        dataset=dict(type='CustomDataset', data_root=_folder + '/train', pipeline=train_pipeline)))
val_dataloader = dict(
    batch_size=250,
    num_workers=0,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CustomDataset',
        data_root=_folder + '/val',
        pipeline=test_pipeline))
test_dataloader = val_dataloader
