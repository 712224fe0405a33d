# Row "scratch": ViT-S on labels alone. Same recipe without layer decay: nothing is pre-trained.
_base_ = './g2sd_vits_cls_nosd.py'

model = dict(backbone=dict(init_cfg=None), head=dict(init_cfg=dict(std=0.02)))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=1.0))
