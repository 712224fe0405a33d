# What every depth run has: mmseg's scope, its drawings, counting in iterations. Of the metrics that
# mmseg's DepthMetric gives, abs_rel decides: the mean error as a part of the true depth.
_base_ = './runtime.py'

custom_imports = dict(
    imports=['g2sd_mm.registered', 'g2sd_mm.models.depth', 'g2sd_mm.datasets.depth'])
default_scope = 'mmseg'
visualizer = dict(type='SegLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')])
default_hooks = dict(
    checkpoint=dict(by_epoch=False, save_best='abs_rel', rule='less'),
    visualization=dict(type='SegVisualizationHook'))
log_processor = dict(by_epoch=False)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
