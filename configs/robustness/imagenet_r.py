# ImageNet-R: paintings, toys and other renditions, 200 classes.
_base_ = '../_base_/imagenet_variant.py'

data_layout = 'data/imagenet-r/<class>/*'
test_dataloader = dict(dataset=dict(data_root='data/imagenet-r'))
