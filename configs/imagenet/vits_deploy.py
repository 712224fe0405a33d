# The plain two-token student that a distilled ViT-S classifier (weights.pth) loads into. It needs
# our backbone and stock mmpretrain, and nothing of the distillation.
_base_ = ['../_base_/imagenet_finetune_data.py']

default_scope = 'mmpretrain'
custom_imports = dict(imports=['g2sd_mm.models.backbones'], allow_failed_imports=False)

model = dict(
    type='ImageClassifier',
    backbone=dict(type='G2SDViT', arch='small', out_type='dist_token'),
    head=dict(type='DeiTClsHead', num_classes=1000, in_channels=384, init_cfg=None))
data_preprocessor = dict(
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=True)
train_dataloader = None
test_evaluator = dict(type='Accuracy', topk=(1, 5))
test_cfg = dict()
