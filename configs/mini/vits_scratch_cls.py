# Row "scratch", classification: labels alone, nothing pre-trained, hence no layer decay.
_base_ = './g2sd_vits_cls_nosd.py'

model = dict(backbone=dict(init_cfg=None), head=dict(init_cfg=dict(std=0.02)))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=1.0))
