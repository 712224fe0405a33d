# 1,600 updates of 16 crops of 64 px, a quarter of an image each: 8 times the data's area
# (1,600 x 16 / 4 / 800 images)
_base_ = './segmentation.py'

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=2e-3, betas=(0.9, 0.999), weight_decay=0.05),
    constructor='ViTLayerDecayConstructor',
    paramwise_cfg=dict(layer_decay_rate=1.0))
param_scheduler = [dict(type='WarmupPolyLR', by_epoch=False, warmup=50)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=1600, val_interval=1600)
default_hooks = dict(checkpoint=dict(interval=800), logger=dict(interval=100))
auto_scale_lr = dict(enable=False, base_batch_size=16)
