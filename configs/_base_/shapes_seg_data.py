# Shapes for segmentation, 128 px scenes, generated on first use: background and ten shapes.
shapes = dict(task='seg', train=800, val=200, size=128, seed=0)
data_layout = 'data/shapes (generated on first use)'

_folder = 'data/shapes/scenes_128px_800+200_s0'
_metainfo = dict(
    classes=(
        'background', 'arrow', 'crescent', 'cross', 'disc', 'heart', 'pentagon', 'ring', 'square',
        'star', 'triangle'),
    palette=[
        (0, 0, 0), (230, 25, 75), (60, 180, 75), (255, 225, 25), (0, 130, 200), (245, 130, 48),
        (145, 30, 180), (70, 240, 240), (240, 50, 230), (210, 245, 60), (250, 190, 190)])
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='CheckMasks', num_classes=11),
    dict(type='RandomResize', scale=(128, 128), ratio_range=(0.75, 1.5), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(64, 64), cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(128, 128), keep_ratio=True),  # scenes of 128 px stay as they are
    dict(type='LoadAnnotations'),
    dict(type='CheckMasks', num_classes=11),
    dict(type='PackSegInputs'),
]
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale=(128, 128), keep_ratio=True)],
            [
                dict(type='RandomFlip', prob=0.0, direction='horizontal'),
                dict(type='RandomFlip', prob=1.0, direction='horizontal'),
            ],
            [dict(type='LoadAnnotations')],
            [dict(type='PackSegInputs')],
        ]),
]
train_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='SeededSampler', shuffle=True, infinite=True),
    dataset=dict(
        type='SeededDataset',
        dataset=dict(
            _scope_='mmseg',
            type='BaseSegDataset',
            data_root=_folder,
            data_prefix=dict(img_path='train', seg_map_path='masks/train'),
            img_suffix='.png',
            metainfo=_metainfo,
            pipeline=train_pipeline)))
val_dataloader = dict(
    batch_size=20,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        _scope_='mmseg',
        type='BaseSegDataset',
        data_root=_folder,
        data_prefix=dict(img_path='val', seg_map_path='masks/val'),
        img_suffix='.png',
        metainfo=_metainfo,
        pipeline=test_pipeline))
test_dataloader = val_dataloader
