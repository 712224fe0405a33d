# Classification with mmpretrain. num_classes is put where it belongs (head, preprocessor, teacher)
# by the tools, so that `--cfg-options num_classes=20` is all that another data set needs.
_base_ = './runtime.py'

default_scope = 'mmpretrain'
custom_imports = dict(
    imports=[
        'g2sd_mm.registered', 'g2sd_mm.models.heads', 'g2sd_mm.datasets.augmenting',
        'g2sd_mm.datasets.mixing'])

data_preprocessor = dict(
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=True)
visualizer = dict(type='UniversalVisualizer', vis_backends=[dict(type='LocalVisBackend')])
val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_evaluator = val_evaluator
val_cfg = dict()
test_cfg = dict()
