# Stage 1, SigLIP 2 ViT-B/16 -> ViT-S/16. Weights: timm's vit_base_patch16_siglip_224.v2_webli,
# Apache-2.0.
# Grid: 224 / 16 = 14 rows of patches for both. The teacher's images have mean and std 0.5; they are
# normalised anew.
# It has no class token: cls='mean' lets the student's learn the mean of the patches.
# Blocks: 12, of width 768; the last is taken.
_base_ = [
    '../_base_/pretrain_recipe.py', '../_base_/imagenet_pretrain_data.py',
    '../_base_/feature_teacher.py'
]

model = dict(arch='small', decoder='dec256d4b')
distillation = dict(
    teacher=dict(model='vit_base_patch16_siglip_224.v2_webli', cls='mean'),
    adapters=dict(tokens=dict(in_channels=256, out_channels=768)))
