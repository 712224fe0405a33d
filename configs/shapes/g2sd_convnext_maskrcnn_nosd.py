# Detection with a convolutional student at demo size: FPN on maps of stride 4, 8, 16 and 32.
_base_ = './g2sd_vits_maskrcnn_nosd.py'

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
    neck=dict(
        _delete_=True, type='FPN', in_channels=[16, 32, 64, 128], out_channels=64, num_outs=4))
