# Your own COCO-format data: copy this file, change the first lines. Any config of this folder can
# be the base. Annotation files with run-length masks: set poly2mask=True in LoadAnnotations.
_base_ = './g2sd_vits_maskrcnn_nosd.py'

root, train, val = 'data/coco_mini/', 'train2017', 'val2017'
classes = ('person', 'car', 'dog')  # categories of the annotation files; others are left out

data = dict(data_root=root, metainfo=dict(classes=classes))
train_dataloader = dict(
    batch_size=2,
    dataset=dict(
        dataset=dict(
            ann_file=f'instances_{train}.json', data_prefix=dict(img=f'{train}/'), **data)))
val_dataloader = dict(
    dataset=dict(ann_file=f'instances_{val}.json', data_prefix=dict(img=f'{val}/'), **data))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=f'{root}instances_{val}.json')
test_evaluator = val_evaluator
model = dict(
    roi_head=dict(
        bbox_head=dict(num_classes=len(classes)), mask_head=dict(num_classes=len(classes))))
