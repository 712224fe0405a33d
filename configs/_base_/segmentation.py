# What every segmentation run has: mmseg's scope, evaluation and drawings, counting in iterations.
_base_ = './runtime.py'

default_scope = 'mmseg'
tta_model = dict(type='SegTTAModel')
visualizer = dict(type='SegLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')])
default_hooks = dict(
    checkpoint=dict(by_epoch=False, save_best='mIoU', rule='greater'),
    visualization=dict(type='SegVisualizationHook'))
log_processor = dict(by_epoch=False)
# nan_to_num=0 counts classes that neither occur nor are predicted as 0, as ADE20K's own script does
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
