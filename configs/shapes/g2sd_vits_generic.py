# Stage 1 at demo size: the student predicts block 1 of the teacher's 2 decoder blocks.
_base_ = ['../_base_/shapes_pretrain_recipe.py', '../_base_/shapes_pretrain_data.py']

model = dict(
    type='GenericDistiller',
    student=dict(arch='demo-student', decoder='dec32d2b', img_size=56),
    teacher=dict(
        arch='demo-teacher',
        decoder='dec64d2b',
        img_size=56,
        checkpoint='work_dirs/vitb_mae/weights.pth'),
    target_block=1)
