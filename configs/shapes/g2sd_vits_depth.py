# Stage 2 on depth at demo size. All of the head but its first layer starts as the teacher's,
# and the first one learns to give the maps that the rest knows.
_base_ = ['./g2sd_vits_depth_nosd.py', '../_base_/depth_distillation.py']

distillation = dict(
    teacher=dict(config='configs/shapes/vitb_depth.py'),
    inherit=[
        'decode_head.reassemble_blocks.resize_layers', 'decode_head.convs',
        'decode_head.fusion_blocks', 'decode_head.project', 'decode_head.conv_seg'],
    taps=dict(maps='decode_head.reassemble_blocks.projects.*'),
    adapters=dict(tokens=dict(in_channels=64, out_channels=128)),
    losses=dict(loss_maps=dict(type='LayerwiseMSELoss', tap='maps', loss_weight=0.01)))
