# What the mini suite's depth rows are judged by: 1,000 scenes; runs validate on the first 200.
_base_ = '../_base_/shapes_depth_data.py'

shapes = dict(train=10, val=1000)
test_dataloader = dict(dataset=dict(data_root='data/shapes/depth_128px_10+1000_s0'))
test_evaluator = dict(type='DepthMetric', min_depth_eval=0.1, max_depth_eval=12.0)
