# Convolutional teacher of the row "deit", RegNetY-16GF. timm names its published weights
# regnety_160.deit_in1k; where they are not at hand this trains it by the recipe of the other rows.
_base_ = '../imagenet/vits_scratch_cls.py'

model = dict(
    backbone=dict(_delete_=True, type='TimmBackbone', model='regnety_160'),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(in_channels=3024))
train_cfg = dict(max_epochs=100)
