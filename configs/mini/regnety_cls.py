# Convolutional teacher of the row "deit": the smallest RegNetY, as long as the other teacher.
_base_ = './vits_scratch_cls.py'

model = dict(
    backbone=dict(_delete_=True, type='TimmBackbone', model='regnety_002'),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(in_channels=368, loss=dict(_delete_=True, type='CrossEntropyLoss')))
train_cfg = dict(max_epochs=40, val_interval=40)
