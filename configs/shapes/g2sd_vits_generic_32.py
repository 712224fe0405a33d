# Stage 1 at demo size and low resolution; g2sd_vits_generic_32_finish.py ends it at 56 px.
_base_ = './g2sd_vits_generic.py'

model = dict(img_size=32)
distillation = dict(teacher=dict(img_size=32))
train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            pipeline=[
                dict(type='LoadImageFromFile'),
                dict(
                    type='RandomResizedCrop',
                    scale=32,
                    crop_ratio_range=(0.2, 1.0),
                    backend='pillow',
                    interpolation='bicubic'),
                dict(type='RandomFlip', prob=0.5, direction='horizontal'),
                dict(type='PackInputs'),
            ])))
train_cfg = dict(max_epochs=13)
