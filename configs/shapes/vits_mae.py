# Row "mae_student": the demo's student pre-trained alone.
_base_ = './vitb_mae.py'

model = dict(arch='demo-student', decoder='dec32d2b')
