# Stage 1 at demo size: the student predicts block 1 of the teacher's 2 decoder blocks.
_base_ = [
    '../_base_/shapes_pretrain_recipe.py', '../_base_/shapes_pretrain_data.py',
    '../_base_/generic_distillation.py'
]

model = dict(arch='demo-student', decoder='dec32d2b', img_size=56)
distillation = dict(
    teacher=dict(
        arch='demo-teacher',
        decoder='dec64d2b',
        img_size=56,
        until='decoder_blocks.0',
        checkpoint='work_dirs/vitb_mae/weights.pth'),
    adapters=dict(tokens=dict(in_channels=32, out_channels=64)))
