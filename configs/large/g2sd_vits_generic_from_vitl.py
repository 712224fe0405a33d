# Stage 1, ViT-L -> ViT-S, sharded: each GPU holds its share of every block of the teacher, and of
# the student's weights, gradients and moments.
_base_ = ['../imagenet/g2sd_vits_generic.py', '../_base_/sharded.py']

# a FULL checkpoint, decoder included: publicly mae_pretrain_vit_large_full.pth
distillation = dict(teacher=dict(arch='large'))
