# Stage 2, ViT-B -> ViT-Ti: the student learns the labels and where the teacher sees each class.
# total = decode CE + 0.4 auxiliary CE + 3 channel-wise divergence of the logits (stride 4). The
# published config files say 10, the command lines that come with them 3.
_base_ = './g2sd_vitt_upernet_nosd.py'

distillation = dict(
    teacher=dict(
        config='configs/ade20k/vitb_upernet.py',
        checkpoint='work_dirs/vitb_upernet/weights.pth',
        forward=('backbone', 'neck', 'decode_head')),
    taps=dict(logits='decode_head.conv_seg'),
    losses=dict(
        loss_cwd=dict(type='ChannelWiseDivergence', tap='logits', tau=1.0, loss_weight=3.0)))
