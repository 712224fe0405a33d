# Your own COCO-format data: copy this file and change the first lines. Any config of this folder
# can be the base.
_base_ = './g2sd_vits_maskrcnn_nosd.py'

classes = ('person', 'car', 'dog')  # categories of the annotation files; others are left out
_root = 'data/coco_mini/'
train_dataloader = dict(
    batch_size=2,
    dataset=dict(
        dataset=dict(
            data_root=_root,
            ann_file='instances_train2017.json',
            data_prefix=dict(img='train2017/'))))
val_dataloader = dict(
    dataset=dict(
        data_root=_root, ann_file='instances_val2017.json', data_prefix=dict(img='val2017/')))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=_root + 'instances_val2017.json')
test_evaluator = val_evaluator
