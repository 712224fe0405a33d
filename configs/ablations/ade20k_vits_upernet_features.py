# Other taps by config alone: instead of the logits, two scales after the pyramid, brought to the
# teacher's width by 1x1 convolutions, and which tokens the last attention layer finds alike.
# Adapters train with the student and are not in its weights file.
_base_ = '../ade20k/g2sd_vits_upernet.py'

distillation = dict(
    teacher=dict(forward=('backbone', 'neck')),  # no head is needed
    taps=dict(
        _delete_=True,
        stride4='neck.upsample_4x',
        stride8='neck.upsample_2x',
        attention='backbone.blocks.11.attn.qkv'),
    adapters=dict(
        stride4=dict(type='Conv2d', in_channels=384, out_channels=768, kernel_size=1),
        stride8=dict(type='Conv2d', in_channels=384, out_channels=768, kernel_size=1)),
    losses=dict(
        _delete_=True,
        loss_stride4=dict(type='ChannelWiseDivergence', tap='stride4', tau=4.0, loss_weight=0.5),
        loss_stride8=dict(type='ChannelWiseDivergence', tap='stride8', tau=4.0, loss_weight=0.5),
        loss_attention=dict(type='TokenRelationLoss', tap='attention', heads=1, loss_weight=1.0)))
