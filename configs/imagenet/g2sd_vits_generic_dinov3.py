# Stage 1, DINOv3 ViT-B/16 -> ViT-S/16. Weights: timm's vit_base_patch16_dinov3.lvd1689m, under
# Meta's DINOv3 licence, which goes along with what is distilled: read it before you publish.
# Grid: 224 / 16 = 14 rows of patches for both. Positions are rotary; 4 register tokens are dropped.
# Blocks: 12, of width 768; the last is taken.
_base_ = [
    '../_base_/pretrain_recipe.py', '../_base_/imagenet_pretrain_data.py',
    '../_base_/feature_teacher.py'
]

model = dict(arch='small', decoder='dec256d4b')
distillation = dict(
    teacher=dict(model='vit_base_patch16_dinov3.lvd1689m'),
    adapters=dict(tokens=dict(in_channels=256, out_channels=768)))
