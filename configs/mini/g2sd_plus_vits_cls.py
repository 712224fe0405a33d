# G2SD plus, classification: no stage 1. The student starts as a slice of its fine-tuned teacher, as
# docs/students.md says, and stage 2 is that of the other row, at a lower rate.
_base_ = './g2sd_vits_cls.py'

model = dict(backbone=dict(init_cfg=None))
distillation = dict(sliced=dict(images=256, linear=['head.fc']))
optim_wrapper = dict(optimizer=dict(lr=5e-4))
