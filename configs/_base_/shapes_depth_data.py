# Shapes for depth, 128 px scenes, generated on first use: what hides another thing is nearer.
shapes = dict(task='depth', train=800, val=200, size=128, seed=0)
data_layout = 'data/shapes (generated on first use)'

_folder = 'data/shapes/depth_128px_800+200_s0'
_load_depth = dict(type='LoadDepthAnnotations', scale=0.001, min_depth=0.1, max_depth=12.0)
_meta_keys = (
    'img_path', 'depth_map_path', 'ori_shape', 'img_shape', 'pad_shape', 'scale_factor', 'flip',
    'flip_direction')
train_pipeline = [
    dict(type='LoadImageFromFile'),
    _load_depth,
    # whole images, never resized: size and place in the image tell depth
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs', meta_keys=_meta_keys),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(128, 128), keep_ratio=True),  # scenes of 128 px stay as they are
    _load_depth,
    dict(type='PackSegInputs', meta_keys=_meta_keys),
]
train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='SeededSampler', shuffle=True, infinite=True),
    dataset=dict(
        type='SeededDataset',
        dataset=dict(
            _scope_='mmseg',
            type='DepthDataset',
            data_root=_folder,
            data_prefix=dict(img_path='train', depth_map_path='depth/train'),
            img_suffix='.png',
            pipeline=train_pipeline)))
val_dataloader = dict(
    batch_size=20,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        _scope_='mmseg',
        type='DepthDataset',
        data_root=_folder,
        data_prefix=dict(img_path='val', depth_map_path='depth/val'),
        img_suffix='.png',
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='DepthMetric', min_depth_eval=0.1, max_depth_eval=12.0)
test_evaluator = val_evaluator
