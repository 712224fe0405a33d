# Any data set of images and mask PNGs of the same name (pixel = class number, 255 = ignored), here
# COCO with 133 classes: images/{train,val}2017/*.jpg, annotations/{train,val}2017/*.png.
# Elsewhere: --cfg-options train_dataloader.dataset.dataset.data_root=DIR, val_ and test_ alike.
_base_ = './g2sd_vits_upernet_nosd.py'

data_layout = 'data/coco_semantic133/{images,annotations}/{train,val}2017'
num_classes = 133
masks = dict(type='BaseSegDataset', data_root='data/coco_semantic133', reduce_zero_label=False)
masks.update(metainfo=dict(classes=[f'class {i}' for i in range(num_classes)]))
train_dataloader = dict(dataset=dict(dataset=dict(
    **masks, data_prefix=dict(img_path='images/train2017', seg_map_path='annotations/train2017'))))
val_dataloader = dict(dataset=dict(
    **masks, data_prefix=dict(img_path='images/val2017', seg_map_path='annotations/val2017')))
test_dataloader = val_dataloader
model = dict(decode_head=dict(num_classes=133), auxiliary_head=dict(num_classes=133))
