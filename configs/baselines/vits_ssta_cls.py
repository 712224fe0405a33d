# Row "ssta": DeiT's loss with the MAE teacher, and the attention of the surest head of the teacher
# and of a self-supervised assistant, DINO's ViT-B/16. Weights of the assistant:
# distillation.teachers.assistant.checkpoint=FILE, or .pretrained=True, which fetches them.
_base_ = '../imagenet/vits_single_stage.py'

_scores = dict(student='backbone.blocks.-1.attn:scores', teacher='backbone.blocks.-1.attn:scores')
distillation = dict(
    teacher=None,
    teachers=dict(
        supervised=dict(
            config='configs/imagenet/vitb_cls.py',
            checkpoint='work_dirs/vitb_cls/weights.pth',
            forward=('backbone', 'head')),
        assistant=dict(type='TimmTeacher', model='vit_base_patch16_224.dino')),
    taps={
        '_delete_': True,
        'supervised.logits': dict(student='head.layers.head_dist', teacher='head.fc'),
        'supervised.scores': _scores,
        'assistant.scores': dict(_scores, teacher='blocks.-1.attn:scores')},
    losses=dict(
        loss_dist=dict(tap='supervised.logits'),
        loss_teacher=dict(
            type='HeadAttentionLoss', tap='supervised.scores', teacher_heads=12, student_head=0),
        loss_assistant=dict(
            type='HeadAttentionLoss', tap='assistant.scores', teacher_heads=12, student_head=1)))
