# UPerNet at demo size: 64 px crops in patches of 8 px, so the backbone's maps have stride 8 and the
# pyramid makes strides 4, 8, 16 and 32 as in the large models.
_base_ = './ade20k_upernet.py'

crop_size = (64, 64)
model = dict(
    data_preprocessor=dict(size=crop_size, test_cfg=dict(_delete_=True, size_divisor=8)),
    # too short a run for regularisation
    backbone=dict(
        arch='demo-student', img_size=64, out_indices=(0, 1, 2, 3), drop_path_rate=0.0),
    neck=dict(embed_dim=64, rescales=[2, 1, 0.5, 0.25]),
    # heads of one width for teacher and student: their convolutions cost most here
    decode_head=dict(
        in_channels=[64, 64, 64, 64], channels=32, dropout_ratio=0.0, num_classes=11),
    # stride 8
    auxiliary_head=dict(in_channels=64, in_index=1, channels=16, num_classes=11),
    # windows overlap by a third, as at 512 px
    test_cfg=dict(crop_size=crop_size, stride=(42, 42)))
