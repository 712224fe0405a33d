# The teacher of stage 2: ViT-B fine-tuned from MAE, mean of the patch tokens.
# MAE's own fine-tuned file (mae_finetuned_vit_base.pth) loads into it as it is.
_base_ = [
    '../_base_/finetune_recipe.py', '../_base_/plain_classifier.py',
    '../_base_/imagenet_finetune_data.py'
]

model = dict(
    backbone=dict(
        arch='base',
        drop_path_rate=0.1,
        init_cfg=dict(type='Pretrained', checkpoint='work_dirs/vitb_mae/weights.pth')),
    head=dict(in_channels=768))
# MAE fine-tunes ViT-B for 100 epochs at 5e-4 * 1024 / 256 = 2e-3, layer decay 0.65
optim_wrapper = dict(optimizer=dict(lr=2e-3), paramwise_cfg=dict(layer_decay_rate=0.65))
param_scheduler = [
    dict(
        type='WarmupCosineLR',
        warmup=5,
        min_ratio=1e-6 / 2e-3,
        by_epoch=True,
        convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=100)
