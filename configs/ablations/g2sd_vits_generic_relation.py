# Stage 1 with a second loss on the relations of q, k and v in every layer. The release defines it
# and never calls it.
_base_ = '../imagenet/g2sd_vits_generic.py'

distillation = dict(
    taps=dict(relations=dict(student='blocks.*.attn.qkv', teacher='blocks.*.attn.qkv')),
    losses=dict(loss_relation=dict(type='TokenRelationLoss', tap='relations')))
