# Fine-tuning and stage 2 on class labels: 200 epochs, 5 of warm-up, half a cosine to 1e-6.
# lr = 1e-3 * batch / 256; batch = 8 GPUs x 128 = 1024, so 4e-3. No gradient clipping, no EMA.
_base_ = './classification.py'

optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=4e-3, betas=(0.9, 0.999), weight_decay=0.05),
    constructor='ViTLayerDecayConstructor',
    # patches at 0.75 ** 13 = 0.024 of the rate; the dist token trains and decays like a head
    paramwise_cfg=dict(layer_decay_rate=0.75, no_decay_names=('pos_embed', 'cls_token')))
param_scheduler = [
    dict(
        type='WarmupCosineLR',
        warmup=5,
        min_ratio=1e-6 / 4e-3,
        by_epoch=True,
        convert_to_iter_based=True),
]
train_cfg = dict(by_epoch=True, max_epochs=200, val_interval=10)
default_hooks = dict(checkpoint=dict(interval=20, save_best='accuracy/top1', rule='greater'))
auto_scale_lr = dict(enable=False, base_batch_size=1024)
