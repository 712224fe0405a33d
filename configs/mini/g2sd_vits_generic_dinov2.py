# Stage 1 of the mini suite from DINOv2 ViT-S/14 instead of a masked autoencoder of its own. The
# student's 56 px are 7 x 7 patches of 8 px; the teacher gets them at 7 x 14 = 98 px, whole.
# Weights: distillation.teacher.checkpoint=FILE, or distillation.teacher.pretrained=True.
_base_ = [
    '../_base_/shapes_pretrain_recipe.py', '../_base_/shapes_pretrain_data.py',
    '../_base_/feature_teacher.py'
]

model = dict(arch='demo-student', decoder='dec32d2b', img_size=56)
distillation = dict(
    teacher=dict(model='vit_small_patch14_dinov2.lvd142m'),
    adapters=dict(tokens=dict(in_channels=32, out_channels=384)))
train_cfg = dict(max_epochs=60)
