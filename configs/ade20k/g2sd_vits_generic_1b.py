# Stage 1b: stage 1 goes on, without labels, on the images of segmentation in crops of their size.
# 300 epochs x 20,210 images / 512 = 11,800 updates, as long as on COCO.
_base_ = '../coco/g2sd_vits_generic_1b.py'

data_layout = 'data/ade/ADEChallengeData2016/images/training/*.jpg (annotations are not read)'
train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            data_root='data/ade/ADEChallengeData2016/images/training',
            pipeline=[
                dict(
                    type='LoadRandomResizedCrop',
                    scale=512,
                    crop_ratio_range=(0.2, 1.0),
                    interpolation='bicubic',
                    flip_prob=0.5,
                    planes=True),
                dict(type='PackInputs'),
            ])))
param_scheduler = [
    dict(
        type='WarmupCosineLR',
        warmup=10,
        min_ratio=2.5e-6 / 3e-4,
        accumulation=2,
        by_epoch=True,
        convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=300)
default_hooks = dict(checkpoint=dict(interval=20))
