# Stage 1, ViT-B -> ViT-Ti.
_base_ = './g2sd_vits_generic.py'

model = dict(arch='tiny', decoder='dec128d4b')
distillation = dict(adapters=dict(tokens=dict(in_channels=128)))
