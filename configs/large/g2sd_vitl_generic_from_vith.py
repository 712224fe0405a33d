# Stage 1, ViT-H/14 -> ViT-L/14, with the activations of the student's blocks computed again in the
# backward pass instead of kept.
_base_ = './g2sd_vits_generic_from_vith.py'

model = dict(arch='large', decoder='dec512d4b', with_cp=True)
distillation = dict(adapters=dict(tokens=dict(in_channels=512)))
