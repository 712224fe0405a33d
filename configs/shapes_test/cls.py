# What the mini suite's classifiers are judged by: 10,000 images; runs validate on the first 1,000.
# Students of 95 % that differ on 4 of 100 images are told apart to sqrt(0.04 / 1,000) = 0.6 points
# by those, to 0.2 points by these.
_base_ = '../_base_/shapes_finetune_data.py'

shapes = dict(train=10, val=10000)
test_dataloader = dict(dataset=dict(data_root='data/shapes/cls_64px_10+10000_s0/val'))
test_evaluator = dict(type='Accuracy', topk=(1, 5))
