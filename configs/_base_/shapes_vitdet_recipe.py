# ViTDet's schedule at demo size: 500 updates x 8 images = 5 passes, steps at 8/9 and 26/27.
_base_ = './vitdet_recipe.py'

optim_wrapper = dict(
    optimizer=dict(lr=1e-3, weight_decay=0.05), paramwise_cfg=dict(layer_decay_rate=0.8))
param_scheduler = [
    dict(
        type='WarmupMultiStepLR',
        by_epoch=False,
        warmup=50,
        warmup_ratio=1e-2,
        milestones=(8 / 9, 26 / 27),
        gamma=0.1),
]
train_cfg = dict(max_iters=500, val_interval=500)
default_hooks = dict(checkpoint=dict(interval=250))
auto_scale_lr = dict(base_batch_size=8)
