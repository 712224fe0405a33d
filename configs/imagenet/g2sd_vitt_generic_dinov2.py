# Stage 1, DINOv2 ViT-B/14 -> ViT-Ti/16.
_base_ = './g2sd_vits_generic_dinov2.py'

model = dict(arch='tiny', decoder='dec128d4b')
distillation = dict(adapters=dict(tokens=dict(in_channels=128)))
