# A convolutional student on class labels at demo size: mean of the last map, one linear head.
_base_ = './g2sd_vits_cls_nosd.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='TimmBackbone',
        model='convnext_atto',
        depths=(1, 1, 2, 1),
        dims=(16, 32, 64, 128),
        output_stride=8,
        init_cfg=dict(
            type='Pretrained', checkpoint='work_dirs/g2sd_convnext_generic/weights.pth')),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(in_channels=128))
