# UPerNet on a plain ViT. The backbone gives four maps of stride 16; Feature2Pyramid makes strides
# 4, 8, 16 and 32 of them. Widths here are those of ViT-S.
# one process and CPUs get plain batch norm from the tools: same parameters
norm_cfg = dict(type='SyncBN', requires_grad=True)
crop_size = (512, 512)

model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=crop_size,
        # images smaller than a crop are padded with zeros (the mean colour) and cut back after
        test_cfg=dict(size=crop_size)),
    backbone=dict(
        type='G2SDViTSeg',
        arch='small',
        img_size=512,
        drop_path_rate=0.1,
        out_indices=(3, 5, 7, 11)),
    neck=dict(
        type='Feature2Pyramid', embed_dim=384, rescales=[4, 2, 1, 0.5], norm_cfg=norm_cfg),
    decode_head=dict(
        type='UPerHead',
        in_channels=[384, 384, 384, 384],
        in_index=[0, 1, 2, 3],
        pool_scales=(1, 2, 3, 6),
        channels=384,
        dropout_ratio=0.1,
        num_classes=150,
        norm_cfg=norm_cfg,
        align_corners=False,
        # mmseg's cross-entropy in less memory; mean over all pixels, ignored ones too (as
        # published): avg_non_ignore=True leaves those out, which weighs crops with much padding
        # more
        loss_decode=dict(type='PixelCrossEntropyLoss', loss_weight=1.0)),
    auxiliary_head=dict(
        type='FCNHead',
        in_channels=384,
        in_index=2,
        channels=256,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.1,
        num_classes=150,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type='PixelCrossEntropyLoss', loss_weight=0.4)),
    train_cfg=dict(),
    test_cfg=dict(mode='slide', crop_size=crop_size, stride=(341, 341)))
