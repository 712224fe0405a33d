# The same segmentor from random weights, distilled from the one that masks16_vits_upernet gave.
_base_ = './masks16_vits_upernet.py'

distillation = dict(
    teacher=dict(
        config='configs/overfit/masks16_vits_upernet.py',
        checkpoint='work_dirs/masks16_vits_upernet/weights.pth',
        forward=('backbone', 'neck', 'decode_head')),
    taps=dict(logits='decode_head.conv_seg'),
    losses=dict(
        loss_cwd=dict(type='ChannelWiseDivergence', tap='logits', tau=1.0, loss_weight=0.3)))
