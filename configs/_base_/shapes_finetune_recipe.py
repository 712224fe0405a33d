# The fine-tuning recipe at demo size, the same for every student row.
_base_ = './finetune_recipe.py'

optim_wrapper = dict(optimizer=dict(lr=2e-3))
param_scheduler = [
    dict(
        type='WarmupCosineLR',
        warmup=2,
        min_ratio=1e-3,
        by_epoch=True,
        convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=14, val_interval=14)
auto_scale_lr = dict(base_batch_size=64)
