# Segmentation with a convolutional student at demo size: UPerNet on maps of stride 4, 8, 16, 32.
_base_ = './g2sd_vits_upernet_nosd.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='TimmBackbone',
        model='convnext_atto',
        depths=(1, 1, 2, 1),
        dims=(16, 32, 64, 128),
        out_indices=(0, 1, 2, 3),
        init_cfg=dict(
            type='Pretrained', checkpoint='work_dirs/g2sd_convnext_generic/weights.pth')),
    neck=None,
    decode_head=dict(in_channels=[16, 32, 64, 128]),
    auxiliary_head=dict(in_channels=64, in_index=2))
