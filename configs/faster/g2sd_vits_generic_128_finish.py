# The end of stage 1 at full resolution: 30 epochs after the 270 of g2sd_vits_generic_128.py.
_base_ = '../imagenet/g2sd_vits_generic.py'

# student, decoder and adapter; tables of positions are resampled from 8 x 8 to 14 x 14
load_from = 'work_dirs/g2sd_vits_generic_128/epoch_270.pth'
optim_wrapper = dict(optimizer=dict(lr=6e-4))
param_scheduler = [
    dict(
        type='WarmupCosineLR',
        warmup=2,
        min_ratio=2.5e-6 / 6e-4,
        accumulation=2,
        by_epoch=True,
        convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=30)
