# Stage 1, ViT-B -> ViT-S: the student's decoder predicts block 4 of the teacher's 8 decoder blocks.
_base_ = ['../_base_/pretrain_recipe.py', '../_base_/imagenet_pretrain_data.py']

model = dict(
    type='GenericDistiller',
    student=dict(arch='small', decoder='dec256d4b'),
    # a FULL checkpoint, decoder included: publicly mae_pretrain_vit_base_full.pth
    teacher=dict(arch='base', decoder='dec512d8b', checkpoint=None),
    target_block=4,
    supervise='all')
