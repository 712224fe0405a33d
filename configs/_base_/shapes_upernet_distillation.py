# Stage 2 on segmentation at demo size: the maps of logits, class by class.
distillation = dict(
    teacher=dict(
        config='configs/shapes/vitb_upernet.py',
        checkpoint='work_dirs/vitb_upernet/weights.pth',
        forward=('backbone', 'neck', 'decode_head')),
    taps=dict(logits='decode_head.conv_seg'),
    losses=dict(
        # maps of 16 x 16 instead of 128 x 128: a lower weight keeps the balance with the labels
        loss_cwd=dict(type='ChannelWiseDivergence', tap='logits', tau=1.0, loss_weight=0.3)))
