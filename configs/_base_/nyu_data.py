# NYU Depth v2 as mmseg lays it out: 24,231 training and 654 test images of 640 x 480 px, depth in
# millimetres up to 10 m. 8 GPUs x 2 images.
data_layout = (
    'data/nyu/images/{train,test}/*.jpg and data/nyu/annotations/{train,test}/*.png (16 bits, '
    'millimetres), of the same names')

_load_depth = dict(type='LoadDepthAnnotations', scale=0.001, min_depth=0.001, max_depth=10.0)
_meta_keys = (
    'img_path', 'depth_map_path', 'ori_shape', 'img_shape', 'pad_shape', 'scale_factor', 'flip',
    'flip_direction')
train_pipeline = [
    dict(type='LoadImageFromFile'),
    _load_depth,
    # whole images: their size and where the floor is tell depth. Resizing would change both.
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs', meta_keys=_meta_keys),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(640, 480), keep_ratio=True),
    _load_depth,  # after the resizing: depth is compared at the size of the original
    dict(type='PackSegInputs', meta_keys=_meta_keys),
]
train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='SeededSampler', shuffle=True, infinite=True),
    dataset=dict(
        type='SeededDataset',
        dataset=dict(
            _scope_='mmseg',
            type='DepthDataset',
            data_root='data/nyu',
            data_prefix=dict(img_path='images/train', depth_map_path='annotations/train'),
            pipeline=train_pipeline)))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        _scope_='mmseg',
        type='DepthDataset',
        data_root='data/nyu',
        data_prefix=dict(img_path='images/test', depth_map_path='annotations/test'),
        pipeline=test_pipeline))
test_dataloader = val_dataloader
# Eigen's crop of 426 x 560 px, without the white frame of the recordings
val_evaluator = dict(
    type='DepthMetric', min_depth_eval=0.001, max_depth_eval=10.0, crop_type='nyu_crop')
test_evaluator = val_evaluator
