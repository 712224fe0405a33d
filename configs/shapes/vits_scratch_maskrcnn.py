# Row "scratch" at demo size: labels alone, nothing pre-trained, hence no layer decay.
_base_ = './g2sd_vits_maskrcnn_nosd.py'

model = dict(backbone=dict(init_cfg=None))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=1.0))
