# ImageNet-C: ImageNet's val under 15 corruptions in five strengths, stored at 224 px.
_base_ = '../_base_/imagenet_variant.py'

data_layout = 'data/imagenet-c/[<group>/]<corruption>/<severity>/<class>/*'
test_dataloader = dict(
    dataset=dict(
        data_root='data/imagenet-c',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='CenterCrop', crop_size=224),
            dict(type='PackInputs'),
        ]))
test_evaluator = dict(_delete_=True, type='CorruptionError')
