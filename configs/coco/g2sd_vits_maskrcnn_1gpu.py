# Stage 2, ViTDet-B -> ViTDet-S on one GPU: the same 64 images an update, in 8 steps of 8.
# What is counted in steps is 8 times as long. The losses' warm-up is counted in updates and stays.
# For another split of the 64, e.g. 16 steps of 4, change both numbers.
_base_ = './g2sd_vits_maskrcnn.py'

batch, steps = 8, 8
train_dataloader = dict(batch_size=batch)
optim_wrapper = dict(accumulative_counts=steps)
param_scheduler = [
    dict(
        type='WarmupMultiStepLR',
        by_epoch=False,
        accumulation=steps,
        warmup=250 * steps,
        warmup_ratio=1e-3,
        milestones=(8 / 9, 26 / 27),
        gamma=0.1),
]
train_cfg = dict(max_iters=184375 * steps, val_interval=5000 * steps)
default_hooks = dict(checkpoint=dict(interval=5000 * steps))
# images of one step: mmengine does not count what is accumulated
auto_scale_lr = dict(base_batch_size=batch)
