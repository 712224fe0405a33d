# Stage 2, ViTDet-B -> ViTDet-S: pyramid features and objectness of all five levels.
_base_ = './g2sd_vits_maskrcnn_nosd.py'

distillation = dict(
    teacher=dict(
        config='configs/coco/vitb_maskrcnn.py',
        checkpoint='work_dirs/vitb_maskrcnn/weights.pth',
        # no proposals, losses or box heads; train_mode=True would repeat the release's teacher,
        # whose drop path of 0.1 was left on
        forward=('backbone', 'neck', 'rpn_head')),
    taps=dict(pyramid='neck', objectness='rpn_head.rpn_cls'),
    adapters=dict(pyramid=dict(type='LevelAdapters', channels=256, num_levels=5)),
    losses=dict(
        # summed over the 256 channels, hence the small weight
        loss_feature=dict(
            type='FeatureRichnessLoss',
            tap='pyramid',
            inputs=dict(objectness='teacher.objectness'),
            loss_weight=0.001,
            warmup=500),
        loss_objectness=dict(
            type='ObjectnessDistillationLoss', tap='objectness', loss_weight=0.1, warmup=500)))
# the release's command line for distillation; its configuration file says 0.1
optim_wrapper = dict(optimizer=dict(weight_decay=0.05))
