# Stage 1, ViT-B -> ViT-S and ViT-Ti in one run: the teacher's answer is computed once, and each
# student gets the weights of its own run (configs/imagenet/g2sd_vits_generic.py, _vitt_).
_base_ = '../imagenet/g2sd_vits_generic.py'

students = dict(
    small=dict(),
    tiny=dict(
        model=dict(arch='tiny', decoder='dec128d4b'),
        distillation=dict(adapters=dict(tokens=dict(in_channels=128)))))
