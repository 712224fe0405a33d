# G2SD plus, segmentation: no stage 1. The student's ViT starts as a slice of its fine-tuned
# teacher's, its head as the teacher's, as docs/students.md says; as long as every row of the task.
_base_ = '../shapes/g2sd_vits_upernet.py'

model = dict(backbone=dict(init_cfg=None))
distillation = dict(
    teacher=dict(config='configs/mini/vitb_upernet.py'), sliced=dict(images=64))
train_cfg = dict(max_iters=4000, val_interval=4000)
