# Can it learn at all? A small detector from random weights on 16 COCO images of 256 px, tested on
# the same images. No augmentation. docs/results/overfit has the data, commands and outcome.
_base_ = [
    '../_base_/shapes_vitdet_recipe.py', '../_base_/shapes_maskrcnn.py',
    '../_base_/coco_instances.py'
]

num_classes = 80
data_root = 'data/coco16/'
data_layout = 'data/coco16/images/*.jpg and data/coco16/instances.json'
pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='CheckListedSize'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='Resize', scale=(256, 256), keep_ratio=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
_files = dict(data_root=data_root, ann_file='instances.json', data_prefix=dict(img='images/'))
train_dataloader = dict(
    batch_size=4, num_workers=0, dataset=dict(dataset=dict(pipeline=pipeline, **_files)))
val_dataloader = dict(num_workers=0, dataset=dict(pipeline=pipeline, **_files))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'instances.json')
test_evaluator = val_evaluator

model = dict(
    data_preprocessor=dict(pad_size_divisor=256),
    backbone=dict(arch='demo-teacher', img_size=256, window_size=8),
    neck=dict(in_channels=128),
    rpn_head=dict(anchor_generator=dict(scales=[4, 8])),
    train_cfg=dict(rcnn=dict(sampler=dict(num=64))),
    test_cfg=dict(rcnn=dict(max_per_img=100)))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=1.0))
# the recipe's 500 updates x 4 images = 125 passes over 16 images
train_cfg = dict(val_interval=250)
