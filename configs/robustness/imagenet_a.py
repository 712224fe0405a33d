# ImageNet-A: photographs that mislead ResNet-50, 200 classes.
_base_ = '../_base_/imagenet_variant.py'

data_layout = 'data/imagenet-a/<class>/*'
test_dataloader = dict(dataset=dict(data_root='data/imagenet-a'))
