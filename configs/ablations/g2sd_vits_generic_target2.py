# Stage 1 on block 2 of the teacher's 8 decoder blocks (published: 4).
_base_ = '../imagenet/g2sd_vits_generic.py'

distillation = dict(teacher=dict(until='decoder_blocks.1'))
