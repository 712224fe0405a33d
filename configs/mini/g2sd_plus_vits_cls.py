# G2SD plus, classification: no stage 1. The student starts as a slice of its fine-tuned teacher, as
# docs/students.md says; stage 2 is that of the row g2sd.
_base_ = './g2sd_vits_cls.py'

model = dict(backbone=dict(init_cfg=None))
distillation = dict(sliced=dict(images=256, linear=['head.fc']))
