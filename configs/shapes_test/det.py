# What the mini suite's detectors are judged by: 1,000 scenes; runs validate on the first 200.
_base_ = '../_base_/shapes_instances.py'

shapes = dict(train=10, val=1000)
_folder = 'data/shapes/scenes_128px_10+1000_s0/'
test_dataloader = dict(dataset=dict(data_root=_folder))
test_evaluator = dict(ann_file=_folder + 'annotations/instances_val.json')
