# Stage 2 on segmentation at demo size. What is alike in both heads starts as the teacher's, and
# what leads into it learns to give the maps that it knows.
_base_ = ['./g2sd_vits_upernet_nosd.py', '../_base_/shapes_upernet_distillation.py']

distillation = dict(
    inherit=['decode_head.fpn_convs', 'decode_head.fpn_bottleneck', 'decode_head.conv_seg'],
    taps=dict(maps=['decode_head.lateral_convs.*', 'decode_head.bottleneck']),
    losses=dict(loss_maps=dict(type='LayerwiseMSELoss', tap='maps', loss_weight=1.0)))
