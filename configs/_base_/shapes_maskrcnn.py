# Mask R-CNN at demo size: 128 px, patches of 8, pyramid strides 4, 8, 16 and 32, 64 channels.
_base_ = './maskrcnn_vitdet.py'

model = dict(
    data_preprocessor=dict(pad_size_divisor=128),
    backbone=dict(
        arch='demo-student',
        img_size=128,
        pretrain_img_size=56,
        window_size=4,
        global_blocks=(1, 3)),
    neck=dict(in_channels=64, out_channels=64, stride=8, scale_factors=(2, 1, 0.5)),
    rpn_head=dict(
        in_channels=64,
        feat_channels=64,
        # objects are 20 to 70 px large: anchors of 16, 32, 64 and 128
        anchor_generator=dict(scales=[4], strides=[4, 8, 16, 32])),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=64, featmap_strides=[4, 8, 16], finest_scale=20),
        bbox_head=dict(
            in_channels=64, conv_out_channels=32, fc_out_channels=256, num_classes=10),
        mask_roi_extractor=dict(out_channels=64, featmap_strides=[4, 8, 16], finest_scale=20),
        mask_head=dict(in_channels=64, conv_out_channels=32, num_classes=10)),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=64)),
        rpn_proposal=dict(nms_pre=300, max_per_img=100),
        rcnn=dict(sampler=dict(num=32))),
    test_cfg=dict(rpn=dict(nms_pre=300, max_per_img=100), rcnn=dict(max_per_img=30)))
