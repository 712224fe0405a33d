# Can it learn at all? A small segmentor from random weights on 16 images of 128 px, 133 classes,
# tested on the same images. docs/results/overfit has the data, commands and outcome.
_base_ = [
    '../_base_/shapes_upernet.py', '../_base_/shapes_seg_data.py',
    '../_base_/shapes_seg_recipe.py'
]

shapes = None
data_layout = 'data/masks16/images/*.jpg and data/masks16/annotations/*.png'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='CheckMasks', num_classes=133),
    dict(type='Resize', scale=(128, 128)),
    dict(type='PackSegInputs'),
]
# resized before the annotations are loaded: scores are counted at the size of the original
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(128, 128)),
    dict(type='LoadAnnotations'),
    dict(type='CheckMasks', num_classes=133),
    dict(type='PackSegInputs'),
]
_files = dict(
    data_root='data/masks16',
    data_prefix=dict(img_path='images', seg_map_path='annotations'),
    img_suffix='.jpg')
classes = [f'class {i}' for i in range(133)]
train_dataloader = dict(
    batch_size=4, num_workers=0, dataset=dict(dataset=dict(pipeline=train_pipeline, **_files)))
val_dataloader = dict(batch_size=4, dataset=dict(pipeline=test_pipeline, **_files))
test_dataloader = val_dataloader

model = dict(
    data_preprocessor=dict(size=(128, 128)),
    backbone=dict(arch='demo-teacher', img_size=128, drop_path_rate=0.1),
    neck=dict(embed_dim=128),
    decode_head=dict(in_channels=[128, 128, 128, 128], channels=64, dropout_ratio=0.1),
    auxiliary_head=dict(in_channels=128, channels=32),
    test_cfg=dict(_delete_=True, mode='whole'))
# 800 updates x 4 images = 200 passes over 16 images
optim_wrapper = dict(optimizer=dict(lr=1e-3))
train_cfg = dict(max_iters=800, val_interval=400)
default_hooks = dict(checkpoint=dict(interval=400))
