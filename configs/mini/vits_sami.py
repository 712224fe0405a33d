# Row "sami", pre-training: the teacher's encoder sees the whole image, hidden patches are decoded
# by cross-attention, and all tokens are regressed as they are.
_base_ = './g2sd_vits_generic_cross.py'

distillation = dict(
    teacher=dict(
        _delete_=True,
        type='EncoderTeacher',
        arch='demo-teacher',
        img_size=56,
        checkpoint='work_dirs/vitb_mae/weights.pth'),
    taps=dict(tokens=dict(_delete_=True, student='decoded')),
    adapters=dict(
        tokens=dict(_delete_=True, type='TokenAdapter', in_channels=32, out_channels=128)),
    losses=dict(
        loss_tokens=dict(
            _delete_=True,
            type='MSEFeatureLoss',
            inputs=dict(student='student.tokens', teacher='teacher.tokens'))))
