# 400 updates of 8 images: 4 passes
_base_ = './segmentation.py'

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, betas=(0.9, 0.999), weight_decay=0.05),
    constructor='ViTLayerDecayConstructor',
    paramwise_cfg=dict(layer_decay_rate=0.75))
param_scheduler = [dict(type='WarmupPolyLR', by_epoch=False, warmup=50)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=400, val_interval=400)
default_hooks = dict(checkpoint=dict(interval=400), logger=dict(interval=20))
auto_scale_lr = dict(enable=False, base_batch_size=8)
