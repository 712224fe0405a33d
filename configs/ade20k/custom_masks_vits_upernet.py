# Any data set of images and mask PNGs of the same name (pixel = class number, 255 = ignored), here
# COCO with 133 classes. Of another one change the folders, the classes and their number.
_base_ = './g2sd_vits_upernet_nosd.py'

data_layout = 'data/coco_semantic133/{images,annotations}/{train,val}2017'
data = dict(
    type='BaseSegDataset',
    data_root='data/coco_semantic133',
    reduce_zero_label=False,
    metainfo=dict(classes=[f'class {i}' for i in range(133)]))  # or a text file, one name a line
_base_.train_pipeline[2].num_classes = _base_.test_pipeline[3].num_classes = 133  # CheckMasks
train_dataloader = dict(dataset=dict(dataset=dict(
    data_prefix=dict(img_path='images/train2017', seg_map_path='annotations/train2017'),
    pipeline=_base_.train_pipeline, **data)))
val_dataloader = dict(dataset=dict(
    data_prefix=dict(img_path='images/val2017', seg_map_path='annotations/val2017'),
    pipeline=_base_.test_pipeline, **data))
test_dataloader = val_dataloader
model = dict(decode_head=dict(num_classes=133), auxiliary_head=dict(num_classes=133))
