# 800 updates of 8 whole images of 128 px: 8 passes over the 800 images, as many pixels as
# segmentation's runs see.
_base_ = './depth.py'

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, betas=(0.9, 0.999), weight_decay=0.05),
    constructor='ViTLayerDecayConstructor',
    paramwise_cfg=dict(layer_decay_rate=1.0))
param_scheduler = [dict(type='WarmupPolyLR', by_epoch=False, warmup=50)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=800, val_interval=800)
default_hooks = dict(checkpoint=dict(interval=400), logger=dict(interval=50))
auto_scale_lr = dict(enable=False, base_batch_size=8)
