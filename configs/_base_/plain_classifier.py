# ViT, mean of the patch tokens, one linear head: MAE's fine-tuning, and the plain twin of G2SD.
model = dict(
    type='ImageClassifier',
    backbone=dict(type='G2SDViT', arch='small', out_type='avg_featmap'),
    head=dict(
        type='LinearClsHead',
        num_classes=1000,
        in_channels=384,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
        init_cfg=dict(type='TruncNormal', layer='Linear', std=2e-5)),
    # one of both for every batch, half and half
    train_cfg=dict(
        augments=[dict(type='FlipMixup', alpha=0.8), dict(type='FlipCutMix', alpha=1.0)]))
