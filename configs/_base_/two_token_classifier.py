# ViT with a class and a distillation token, a linear head on each; prediction averages both.
model = dict(
    type='ImageClassifier',
    backbone=dict(type='G2SDViT', arch='small', out_type='dist_token'),
    head=dict(
        type='TwoTokenClsHead',
        num_classes=1000,
        in_channels=384,
        # total = (task + distillation) / 2
        loss=dict(
            type='LabelSmoothLoss', label_smooth_val=0.1, mode='original', loss_weight=0.5)),
    # one of both for every batch, half and half
    train_cfg=dict(
        augments=[dict(type='FlipMixup', alpha=0.8), dict(type='FlipCutMix', alpha=1.0)]))
