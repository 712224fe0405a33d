# Nobody has published G2SD on NYU: this recipe joins two. Length, data, range and metric are those
# of mmseg 1.x's config for NYU (configs/vpd, schedule_25k): 25,000 updates. Optimiser, layer decay
# and schedule are ADE20K's in this project, for the same backbone from the same pre-training.
# 25,000 updates of 16 images (8 GPUs x 2) on 24,231 images: 400,000 images, 16.5 passes.
# lr(t) = 1e-4 (1 - t / 25,000), times the warm-up factor over the first 1,500 updates.
_base_ = './depth.py'

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    constructor='ViTLayerDecayConstructor',
    # patches and positions at 0.65 ** 13 = 0.0037 of the rate, block i at 0.65 ** (12 - i)
    paramwise_cfg=dict(layer_decay_rate=0.65))
param_scheduler = [dict(type='WarmupPolyLR', by_epoch=False, warmup=1500)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=25000, val_interval=2500)
default_hooks = dict(checkpoint=dict(interval=2500))
auto_scale_lr = dict(enable=False, base_batch_size=16)
