# Stage 1 and MAE pre-training: 300 epochs, 10 of warm-up, half a cosine.
# lr = 1.5e-4 * batch / 256; batch = 8 GPUs x 256 x accumulation 2 = 4096, so 2.4e-3.
# ImageNet: 1,281,167 // 2048 = 625 steps an epoch, 312.5 updates (accumulation runs on over the end
# of an epoch; the release drops the odd step). No gradient clipping.
_base_ = './runtime.py'

default_scope = 'mmpretrain'
data_preprocessor = dict(
    type='ImgDataPreprocessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
    non_blocking=True)  # images cross over as uint8 from pinned memory, while the GPU works
visualizer = dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')])

optim_wrapper = dict(
    accumulative_counts=2,
    optimizer=dict(type='AdamW', lr=2.4e-3, betas=(0.9, 0.95), weight_decay=0.05),
    # vectors are not decayed; class and mask tokens are (they have three dimensions)
    constructor='ViTLayerDecayConstructor',
    paramwise_cfg=dict(no_decay='one_dimensional'))
param_scheduler = [
    dict(
        type='WarmupCosineLR',
        warmup=10,
        min_ratio=2.5e-6 / 2.4e-3,
        accumulation=2,
        by_epoch=True,
        convert_to_iter_based=True),
]
train_cfg = dict(by_epoch=True, max_epochs=300)
default_hooks = dict(checkpoint=dict(interval=20))
auto_scale_lr = dict(enable=False, base_batch_size=2048)  # per step; x 2 accumulated = 4096
