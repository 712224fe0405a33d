# The DPT head at demo size: 128 px images in patches of 8 px, so the maps have stride 8, and the
# head's finest scale has stride 2.
_base_ = './depth_dpt.py'

model = dict(
    data_preprocessor=dict(size=(128, 128), test_cfg=dict(_delete_=True, size_divisor=8)),
    # too short a run for regularisation
    backbone=dict(
        arch='demo-student', img_size=128, out_indices=(0, 1, 2, 3), drop_path_rate=0.0),
    # heads of one width for teacher and student: their convolutions cost most here
    decode_head=dict(
        embed_dims=64,
        min_depth=0.1,
        max_depth=12.0,
        channels=16,
        post_process_channels=(16, 24, 32, 32)))
