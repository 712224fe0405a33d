# Stage 2 on detection at demo size. Both heads start as the teacher's, so the pyramid has to be the
# teacher's as it is, without adapters.
_base_ = ['./g2sd_vits_maskrcnn_nosd.py', '../_base_/shapes_maskrcnn_distillation.py']

distillation = dict(
    inherit=['rpn_head', 'roi_head'],
    adapters=dict(_delete_=True),
    losses=dict(loss_maps=dict(type='LayerwiseMSELoss', tap='pyramid', loss_weight=1.0)))
