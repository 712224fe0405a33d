# Stage 1 at 128 px: a third of the arithmetic of 224 px. The last tenth of its epochs are those of
# g2sd_vits_generic_128_finish.py.
_base_ = '../imagenet/g2sd_vits_generic.py'

model = dict(img_size=128)
distillation = dict(teacher=dict(img_size=128))
train_pipeline = [
    dict(
        type='LoadRandomResizedCrop',
        scale=128,
        crop_ratio_range=(0.2, 1.0),
        interpolation='bicubic',
        flip_prob=0.5,
        planes=True),
    dict(type='PackInputs'),
]
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=train_pipeline)))
train_cfg = dict(max_epochs=270)
