# Shapes scenes for detection, 128 px, generated on first use; batch 8 on one process.
shapes = dict(task='det', train=800, val=200, size=128, seed=0)
data_layout = 'data/shapes (generated on first use)'

_folder = 'data/shapes/scenes_128px_800+200_s0/'
_classes = ('arrow', 'crescent', 'cross', 'disc', 'heart', 'pentagon', 'ring', 'square', 'star',
            'triangle')
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='CheckListedSize'),
    # the masks are run-length coded
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomResize', scale=(128, 128), ratio_range=(0.7, 1.5), keep_ratio=True),
    dict(
        type='RandomCrop',
        crop_type='absolute_range',
        crop_size=(128, 128),
        recompute_bbox=True,
        allow_negative_crop=True),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(2, 2), keep_empty=False),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(128, 128), keep_ratio=True),
    dict(type='CheckListedSize'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='SeededSampler', shuffle=True, infinite=True),
    dataset=dict(
        type='SeededDataset',
        dataset=dict(
            type='CheckedCocoDataset',
            _scope_='mmdet',
            data_root=_folder,
            metainfo=dict(classes=_classes),
            ann_file='annotations/instances_train.json',
            data_prefix=dict(img='train/'),
            filter_cfg=dict(filter_empty_gt=True),
            pipeline=train_pipeline)))
val_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CheckedCocoDataset',
        _scope_='mmdet',
        data_root=_folder,
        metainfo=dict(classes=_classes),
        ann_file='annotations/instances_val.json',
        data_prefix=dict(img='val/'),
        test_mode=True,
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(
    type='CocoMetric',
    ann_file=_folder + 'annotations/instances_val.json',
    metric=['bbox', 'segm'],
    proposal_nums=(1, 10, 100))
test_evaluator = val_evaluator
