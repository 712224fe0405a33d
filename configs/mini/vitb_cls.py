# Teacher of classification: the demo's for 40 epochs, on plain labels. Smoothed ones teach that all
# wrong classes are alike, and stage 2 passes on what the teacher knows about the wrong classes.
_base_ = '../shapes/vitb_cls.py'

model = dict(head=dict(loss=dict(_delete_=True, type='CrossEntropyLoss')))
train_cfg = dict(max_epochs=40, val_interval=40)
