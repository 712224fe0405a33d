# Stage 1b: stage 1 goes on, without labels, on the images of detection at their resolution.
# 8 GPUs x 32 images x accumulation 2 = 512; lr = 1.5e-4 * 512 / 256 = 3e-4;
# 50 epochs x 118,000 images / 512 = 11,500 updates. The paper has no such stage.
_base_ = '../imagenet/g2sd_vits_generic.py'

data_layout = 'data/coco/train2017/*.jpg (annotations are not read)'
# student, decoder and adapter of stage 1; tables of positions are resampled from 14 x 14 to 32 x 32
load_from = 'work_dirs/g2sd_vits_generic/epoch_300.pth'
model = dict(img_size=512)
distillation = dict(teacher=dict(img_size=512))
train_dataloader = dict(
    batch_size=32,
    dataset=dict(
        dataset=dict(
            data_root='data/coco/train2017',
            pipeline=[
                # a quarter of an image at 512 px has the objects as large as all of it at 1024 px
                dict(
                    type='LoadRandomResizedCrop',
                    scale=512,
                    crop_ratio_range=(0.1, 0.5),
                    interpolation='bicubic',
                    flip_prob=0.5,
                    planes=True),
                dict(type='PackInputs'),
            ])))
optim_wrapper = dict(optimizer=dict(lr=3e-4))
param_scheduler = [
    dict(
        type='WarmupCosineLR',
        warmup=2,
        min_ratio=2.5e-6 / 3e-4,
        accumulation=2,
        by_epoch=True,
        convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=50)
default_hooks = dict(checkpoint=dict(interval=5))
auto_scale_lr = dict(base_batch_size=256)
