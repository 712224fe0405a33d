# Test data beside ImageNet, for classifiers of its 1,000 classes: tools/test.py CONFIG CHECKPOINT
# --data configs/robustness/NAME.py. The class folders of ImageNet's val number the classes.
default_scope = 'mmpretrain'
custom_imports = dict(imports=['g2sd_mm.datasets.robustness'], allow_failed_imports=False)

test_dataloader = dict(
    batch_size=128,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='ImageNetVariant',
        numbering='data/imagenet/val',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(
                type='ResizeEdge',
                scale=256,
                edge='short',
                backend='pillow',
                interpolation='bicubic'),
            dict(type='CenterCrop', crop_size=224),
            dict(type='PackInputs'),
        ]))
test_evaluator = dict(type='SubsetAccuracy', topk=(1, 5))
