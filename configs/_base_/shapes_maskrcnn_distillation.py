# Stage 2 on detection at demo size: pyramid features and objectness of all four levels.
distillation = dict(
    teacher=dict(
        config='configs/shapes/vitb_maskrcnn.py',
        checkpoint='work_dirs/vitb_maskrcnn/weights.pth',
        forward=('backbone', 'neck', 'rpn_head')),
    taps=dict(pyramid='neck', objectness='rpn_head.rpn_cls'),
    adapters=dict(pyramid=dict(type='LevelAdapters', channels=64, num_levels=4)),
    losses=dict(
        # 0.001 for 256 channels, so 0.004 for 64
        loss_feature=dict(
            type='FeatureRichnessLoss',
            tap='pyramid',
            inputs=dict(objectness='teacher.objectness'),
            loss_weight=0.004,
            warmup=50),
        loss_objectness=dict(
            type='ObjectnessDistillationLoss', tap='objectness', loss_weight=0.1, warmup=50)))
