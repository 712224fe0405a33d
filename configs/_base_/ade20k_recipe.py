# 160,000 updates of 16 crops (8 GPUs x 2) on 20,210 images: 2,560,000 crops, 127 passes.
# lr(t) = 1e-4 (1 - t / 160,000) from t = 0, times the warm-up factor 1 - (1 - t / 1,500)(1 - 1e-6):
#   t = 0: 1e-10; t = 750: 4.98e-5; t = 1,500: 9.91e-5; t = 80,000: 5e-5; t = 159,999: 6e-10.
# No gradient clipping, no EMA.
_base_ = './segmentation.py'

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    constructor='ViTLayerDecayConstructor',
    # patches and positions at 0.65 ** 13 = 0.0037 of the rate, block i at 0.65 ** (12 - i), pyramid
    # and heads at 1. Vectors are not decayed. The published run meant to exempt pos_embed and
    # cls_token too, but compares the wrong names, so it decays them;
    # no_decay_names=('pos_embed', 'cls_token') is what it meant.
    paramwise_cfg=dict(layer_decay_rate=0.65))
param_scheduler = [dict(type='WarmupPolyLR', by_epoch=False, warmup=1500)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=160000, val_interval=16000)
default_hooks = dict(checkpoint=dict(interval=16000))
auto_scale_lr = dict(enable=False, base_batch_size=16)
