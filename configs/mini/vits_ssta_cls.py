# Row "ssta": labels, the teacher's decisions, and the attention of the surest head of the teacher
# and of a self-supervised assistant, its MAE.
_base_ = './vits_scratch_cls.py'

model = dict(head=dict(loss=dict(loss_weight=0.5)))
_scores = dict(student='backbone.blocks.-1.attn:scores', teacher='backbone.blocks.-1.attn:scores')
distillation = dict(
    teachers=dict(
        supervised=dict(
            config='configs/mini/vitb_cls.py',
            checkpoint='work_dirs/vitb_cls/weights.pth',
            forward=('backbone', 'head')),
        assistant=dict(
            type='EncoderTeacher',
            arch='demo-teacher',
            img_size=56,
            checkpoint='work_dirs/vitb_mae/weights.pth')),
    taps={
        'supervised.logits': 'head.fc',
        'supervised.scores': _scores,
        'assistant.scores': dict(_scores, teacher='blocks.-1.attn:scores')},
    losses=dict(
        loss_dist=dict(type='HardDistillationLoss', tap='supervised.logits', loss_weight=0.5),
        loss_teacher=dict(
            type='HeadAttentionLoss', tap='supervised.scores', teacher_heads=4, student_head=0),
        loss_assistant=dict(
            type='HeadAttentionLoss', tap='assistant.scores', teacher_heads=4, student_head=1)))
