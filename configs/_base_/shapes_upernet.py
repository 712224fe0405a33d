# UPerNet at demo size: 128 px images in patches of 8 px, so the backbone's maps have stride 8 and
# the pyramid makes strides 4, 8, 16 and 32 as in the large models.
_base_ = './ade20k_upernet.py'

crop_size = (128, 128)
model = dict(
    data_preprocessor=dict(size=crop_size, test_cfg=dict(_delete_=True, size_divisor=8)),
    backbone=dict(arch='demo-student', img_size=128, out_indices=(0, 1, 2, 3)),
    neck=dict(embed_dim=64, rescales=[2, 1, 0.5, 0.25]),
    # heads of one width for teacher and student: their convolutions cost most here
    decode_head=dict(in_channels=[64, 64, 64, 64], channels=64, num_classes=11),
    # stride 8
    auxiliary_head=dict(in_channels=64, in_index=1, channels=32, num_classes=11),
    test_cfg=dict(_delete_=True, mode='whole'))
