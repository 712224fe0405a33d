# Stage 2 of detection on the pyramid's features alone. The teacher's objectness still weighs them.
_base_ = '../coco/g2sd_vits_maskrcnn.py'

distillation = dict(
    losses=dict(
        _delete_=True,
        loss_feature=dict(
            type='FeatureRichnessLoss',
            tap='pyramid',
            inputs=dict(objectness='teacher.objectness'),
            loss_weight=0.001,
            warmup=500)))
