# Stage 1, ViT-H/14 -> ViT-S/14, sharded: student and teacher cut images into the same 16 x 16
# patches of 14 px. The teacher is a full checkpoint again, of ViT-H.
_base_ = './g2sd_vits_generic_from_vitl.py'

model = dict(patch_size=14)
distillation = dict(teacher=dict(arch='huge'))
