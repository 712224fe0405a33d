# Any data set of images and mask PNGs of the same name (pixel = class number, 255 = ignored), here
# COCO with 133 classes: copy this file and change the folders and the classes. With names,
# classes=('sky', 'road', ...) instead of num_classes, pictures have a legend that can be read.
_base_ = './g2sd_vits_upernet_nosd.py'

num_classes = 133
_data = dict(
    type='BaseSegDataset', data_root='data/coco_semantic133', reduce_zero_label=False)
train_dataloader = dict(dataset=dict(dataset=dict(
    data_prefix=dict(img_path='images/train2017', seg_map_path='annotations/train2017'), **_data)))
val_dataloader = dict(dataset=dict(
    data_prefix=dict(img_path='images/val2017', seg_map_path='annotations/val2017'), **_data))
test_dataloader = val_dataloader
