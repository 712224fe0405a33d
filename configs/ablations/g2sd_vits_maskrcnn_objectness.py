# Stage 2 of detection on objectness alone: nothing looks at the pyramid, so it has no adapters.
_base_ = '../coco/g2sd_vits_maskrcnn.py'

distillation = dict(
    taps=dict(_delete_=True, objectness='rpn_head.rpn_cls'),
    adapters=None,
    losses=dict(
        _delete_=True,
        loss_objectness=dict(
            type='ObjectnessDistillationLoss', tap='objectness', loss_weight=0.1, warmup=500)))
