# The end of stage 1 at full resolution: 2 epochs after the 13 of g2sd_vits_generic_32.py.
_base_ = './g2sd_vits_generic.py'

load_from = 'work_dirs/g2sd_vits_generic_32/epoch_13.pth'
optim_wrapper = dict(optimizer=dict(lr=5e-4))
train_cfg = dict(max_epochs=2)
param_scheduler = [
    dict(
        type='WarmupCosineLR',
        warmup=1,
        min_ratio=1e-3,
        by_epoch=True,
        convert_to_iter_based=True),
]
