# Depth data of one's own: images and maps of the same names. Copy this file and change the
# folders, what a number of a map stands for, and the range. Maps are 16-bit PNG, here in
# millimetres, or .npy (depth_suffix='.npy', scale=1.0 for metres); 0 stands for pixels whose depth
# is not known.
_base_ = './g2sd_vits_depth_nosd.py'

_near, _far = 0.1, 80.0  # metres
_load_depth = dict(type='LoadDepthAnnotations', scale=0.001, min_depth=_near, max_depth=_far)
_image_size = (640, 480)  # width and height that images are brought to, multiples of 16

model = dict(
    data_preprocessor=dict(size=_image_size[::-1], test_cfg=dict(size=_image_size[::-1])),
    backbone=dict(img_size=_image_size[::-1]),
    decode_head=dict(min_depth=_near, max_depth=_far))
_load, *_, _pack = _base_.train_pipeline
_resize = dict(type='Resize', scale=_image_size)
_flip = dict(type='RandomFlip', prob=0.5)
_train = dict(
    data_root='data/my_depth',
    img_suffix='.jpg',
    depth_suffix='.png',
    data_prefix=dict(img_path='images/train', depth_map_path='depth/train'),
    pipeline=[_load, _load_depth, _resize, _flip, _pack])
_val = dict(
    _train,
    data_prefix=dict(img_path='images/val', depth_map_path='depth/val'),
    pipeline=[_load, _resize, _load_depth, _pack])
data_layout = (
    'data/my_depth/images/{train,val}/*.jpg and data/my_depth/depth/{train,val}/*.png (16 bits)')
train_dataloader = dict(dataset=dict(dataset=_train))
val_dataloader = dict(dataset=_val)
test_dataloader = val_dataloader
val_evaluator = dict(
    _delete_=True, type='DepthMetric', min_depth_eval=_near, max_depth_eval=_far)
test_evaluator = val_evaluator
