# Row "mae_student": the student pre-trained alone, for as long as stage 1 takes.
_base_ = './vitb_mae.py'

model = dict(arch='demo-student', decoder='dec32d2b')
