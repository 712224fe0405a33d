# Stage 1, ViT-B -> ViT-S: the student's decoder predicts block 4 of the teacher's 8 decoder blocks.
_base_ = [
    '../_base_/pretrain_recipe.py', '../_base_/imagenet_pretrain_data.py',
    '../_base_/generic_distillation.py'
]

model = dict(arch='small', decoder='dec256d4b')
distillation = dict(
    # a FULL checkpoint, decoder included: publicly mae_pretrain_vit_base_full.pth
    teacher=dict(arch='base', decoder='dec512d8b', until='decoder_blocks.3', checkpoint=None),
    adapters=dict(tokens=dict(in_channels=256, out_channels=512)))
