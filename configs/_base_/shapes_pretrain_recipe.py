# The pre-training recipe at demo size: no accumulation, a rate for batches of 64.
_base_ = './pretrain_recipe.py'

optim_wrapper = dict(accumulative_counts=1, optimizer=dict(lr=2e-3))
param_scheduler = [
    dict(
        type='WarmupCosineLR',
        warmup=2,
        min_ratio=1e-3,
        by_epoch=True,
        convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=15)
auto_scale_lr = dict(base_batch_size=64)
