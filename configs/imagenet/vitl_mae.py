# MAE pre-training of the larger teacher of segmentation.
_base_ = './vitb_mae.py'

model = dict(arch='large')
