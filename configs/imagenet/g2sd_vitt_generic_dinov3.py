# Stage 1, DINOv3 ViT-B/16 -> ViT-Ti/16.
_base_ = './g2sd_vits_generic_dinov3.py'

model = dict(arch='tiny', decoder='dec128d4b')
distillation = dict(adapters=dict(tokens=dict(in_channels=128)))
