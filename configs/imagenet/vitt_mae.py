# Row "mae_student", ViT-Ti.
_base_ = './vitb_mae.py'

model = dict(arch='tiny', decoder='dec128d4b')
