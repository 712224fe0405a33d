# Row "tinybert", task stage, first part: the same losses with the fine-tuned teacher, for 15 of the
# 20 epochs that other rows see labels.
_base_ = './vits_tinybert.py'

load_from = 'work_dirs/vits_tinybert/weights.pth'
_hidden = ('backbone.blocks.0:input', 'backbone.blocks.*')
distillation = dict(
    teacher=dict(
        _delete_=True,
        config='configs/mini/vitb_cls.py',
        checkpoint='work_dirs/vitb_cls/weights.pth',
        forward=('backbone', )),
    taps=dict(
        scores=dict(student='blocks.*.attn:scores', teacher='backbone.blocks.*.attn:scores'),
        hidden=dict(teacher=_hidden)))
train_cfg = dict(max_epochs=15)
