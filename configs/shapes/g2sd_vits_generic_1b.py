# Stage 1b at demo size: stage 1 goes on, without labels, on the scenes of detection and
# segmentation at their resolution. 8 epochs x 800 images / batch 32 = 200 updates.
_base_ = './g2sd_vits_generic.py'

shapes = dict(task='det', train=800, val=200, size=128, seed=0)
# student, decoder and adapter of stage 1; tables of positions are resampled from 7 x 7 to 16 x 16
load_from = 'work_dirs/g2sd_vits_generic/epoch_15.pth'
model = dict(img_size=128)
distillation = dict(teacher=dict(img_size=128))
train_dataloader = dict(
    batch_size=32,
    dataset=dict(
        dataset=dict(
            data_root='data/shapes/scenes_128px_800+200_s0/train',
            pipeline=[
                dict(type='LoadImageFromFile'),
                dict(
                    type='RandomResizedCrop',
                    scale=128,
                    crop_ratio_range=(0.5, 1.0),
                    backend='pillow',
                    interpolation='bicubic'),
                dict(type='RandomFlip', prob=0.5, direction='horizontal'),
                dict(type='PackInputs'),
            ])))
optim_wrapper = dict(optimizer=dict(lr=5e-4))
train_cfg = dict(max_epochs=8)
auto_scale_lr = dict(base_batch_size=32)
