# Stage 1, DINOv2 ViT-B/14 -> ViT-S/16. Weights: timm's vit_base_patch14_dinov2.lvd142m, Apache-2.0.
# Grid: the student cuts 224 px into 224 / 16 = 14 rows of patches; the teacher gets the same image
# at 14 x 14 = 196 px, its 14 rows. Its table of 37 x 37 positions (518 px) is resized to 14 x 14.
# Blocks: 12, of width 768; the last is taken. With a teacher that was fine-tuned for something else
# an earlier one knows more: choose it on a part of the training images.
_base_ = [
    '../_base_/pretrain_recipe.py', '../_base_/imagenet_pretrain_data.py',
    '../_base_/feature_teacher.py'
]

model = dict(arch='small', decoder='dec256d4b')
distillation = dict(
    teacher=dict(model='vit_base_patch14_dinov2.lvd142m'),
    adapters=dict(tokens=dict(in_channels=256, out_channels=768)))
