# COCO 2017 with large-scale jitter: 8 GPUs x 8 images = 64.
data_root = 'data/coco/'
data_layout = (
    'data/coco/{train2017,val2017}/*.jpg and '
    'data/coco/annotations/instances_{train2017,val2017}.json')

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='CheckListedSize'),
    # polygons, so that cropped boxes fit tightly; where some masks are run lengths, all are drawn
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True, poly2mask=False),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomResize', scale=(1024, 1024), ratio_range=(0.1, 2.0), keep_ratio=True),
    # detectron2 draws one number for both axes, so its crop moves along the diagonal; mmdet two
    dict(
        type='RandomCrop',
        crop_type='absolute_range',
        crop_size=(1024, 1024),
        recompute_bbox=True,
        allow_negative_crop=True),
    # an image whose objects were all cropped away still trains the RPN's negatives
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1e-2, 1e-2), keep_empty=False),
    dict(type='PackDetInputs'),
]
# No Pad step: the preprocessor pads, and boxes are clipped to the image, not to its padding.
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(1024, 1024), keep_ratio=True),
    dict(type='CheckListedSize'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
# The release groups images by aspect ratio. All inputs are padded to one size here, so it
# would save nothing, and a step would no longer see the same samples on any number of processes.
train_dataloader = dict(
    batch_size=8,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='SeededSampler', shuffle=True, infinite=True),
    dataset=dict(
        type='SeededDataset',
        dataset=dict(
            type='CheckedCocoDataset',
            _scope_='mmdet',
            data_root=data_root,
            ann_file='annotations/instances_train2017.json',
            data_prefix=dict(img='train2017/'),
            filter_cfg=dict(filter_empty_gt=True),
            pipeline=train_pipeline)))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CheckedCocoDataset',
        _scope_='mmdet',
        data_root=data_root,
        ann_file='annotations/instances_val2017.json',
        data_prefix=dict(img='val2017/'),
        test_mode=True,
        pipeline=test_pipeline))
test_dataloader = val_dataloader

# The log also has average recall, in the table that pycocotools prints. Recall of class-agnostic
# proposals instead: --cfg-options test_evaluator.metric=proposal
# test_evaluator.proposal_nums="(100,300,1000)"
val_evaluator = dict(
    type='CocoMetric',
    ann_file=data_root + 'annotations/instances_val2017.json',
    metric=['bbox', 'segm'],
    proposal_nums=(1, 10, 100))
test_evaluator = val_evaluator

# tools/test.py --tta: two sizes, each mirrored; all fit into 1024 x 1024
tta_model = dict(
    type='InstanceTTAModel',
    tta_cfg=dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=100))
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale=(side, side), keep_ratio=True) for side in (1024, 832)],
            [dict(type='RandomFlip', prob=p) for p in (0.0, 1.0)],
            [dict(type='LoadAnnotations', with_bbox=True, with_mask=True)],
            [dict(
                type='PackDetInputs',
                meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor',
                           'flip', 'flip_direction'))],
        ]),
]
