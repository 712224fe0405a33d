# mmseg's DepthEstimator with a DPT head on a plain ViT. The backbone gives four maps of stride 16;
# the head makes strides 4, 8, 16 and 32 of them and fuses them again, so that depth may change from
# one pixel to the next where one thing ends and another begins. A linear head on the maps is
# cheaper and shows what frozen features know, but its edges are a patch wide. Widths are of ViT-S.
norm_cfg = dict(type='SyncBN', requires_grad=True)

model = dict(
    type='DepthEstimator',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=0,  # of padded depth: 0 is not known
        size=(480, 640),
        test_cfg=dict(size=(480, 640))),
    backbone=dict(
        type='G2SDViTSeg',
        arch='small',
        img_size=(480, 640),
        drop_path_rate=0.1,
        out_indices=(2, 5, 8, 11)),  # evenly, as DPT has them
    decode_head=dict(
        type='DPTDepthHead',
        embed_dims=384,
        min_depth=0.1,  # metres: what is predicted lies between
        max_depth=10.0,
        channels=256,
        post_process_channels=(96, 192, 384, 384),
        dropout_ratio=0.0,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type='ScaleInvariantLogLoss', variance_focus=0.5)),
    train_cfg=dict(),
    # mmseg's mode 'slide' of depth models is 'whole' in fact; 'slide_flip' is not
    test_cfg=dict(mode='whole'))
