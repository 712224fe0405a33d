# The same, with JPEG decoded on the GPU: for machines with few processor cores beside each GPU.
_base_ = './g2sd_vits_generic.py'

data_preprocessor = dict(type='DecodingPreprocessor', scale=(224, 224))
train_pipeline = [
    dict(
        type='LoadRandomResizedCrop',
        scale=224,
        crop_ratio_range=(0.2, 1.0),
        interpolation='bicubic',
        flip_prob=0.5,
        decode=False),
    dict(
        type='PackInputs',
        meta_keys=('sample_idx', 'img_path', 'ori_shape', 'img_shape', 'flip', 'crop_box')),
]
train_dataloader = dict(
    collate_fn=dict(type='pseudo_collate'),
    dataset=dict(dataset=dict(pipeline=train_pipeline)))
