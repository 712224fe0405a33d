# What the mini suite's segmentors are judged by: 1,000 scenes; runs validate on the first 200.
_base_ = '../_base_/shapes_seg_data.py'

shapes = dict(train=10, val=1000)
test_dataloader = dict(dataset=dict(data_root='data/shapes/scenes_128px_10+1000_s0'))
test_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
