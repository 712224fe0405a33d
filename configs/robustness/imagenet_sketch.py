# ImageNet-Sketch: drawings of all 1,000 classes.
_base_ = '../_base_/imagenet_variant.py'

data_layout = 'data/imagenet-sketch/<class>/*'
test_dataloader = dict(dataset=dict(data_root='data/imagenet-sketch'))
