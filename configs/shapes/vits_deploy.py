# The plain student that g2sd_vits_two_token_cls leaves.
_base_ = '../imagenet/vits_deploy.py'

model = dict(
    backbone=dict(arch='demo-student', img_size=56), head=dict(num_classes=10, in_channels=64))
num_classes = 10
shapes = dict(task='cls', train=4000, val=1000, size=64, seed=0)
test_dataloader = dict(
    dataset=dict(
        data_root='data/shapes/cls_64px_4000+1000_s0/val',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(
                type='ResizeEdge',
                scale=64,
                edge='short',
                backend='pillow',
                interpolation='bicubic'),
            dict(type='CenterCrop', crop_size=56),
            dict(type='PackInputs'),
        ]))
