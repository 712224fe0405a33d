# Row "sami", pre-training, ViT-B -> ViT-S: the teacher's encoder sees the whole image, hidden
# patches are decoded by cross-attention, and all tokens are regressed as they are.
_base_ = '../imagenet/g2sd_vits_generic.py'

model = dict(decoder='dec512d8b', decoder_attention='cross')
distillation = dict(
    teacher=dict(
        _delete_=True, type='EncoderTeacher', arch='base',
        checkpoint='work_dirs/vitb_mae/weights.pth'),
    taps=dict(tokens=dict(_delete_=True, student='decoded')),
    adapters=dict(
        tokens=dict(_delete_=True, type='TokenAdapter', in_channels=512, out_channels=768)),
    losses=dict(
        loss_tokens=dict(
            _delete_=True,
            type='MSEFeatureLoss',
            inputs=dict(student='student.tokens', teacher='teacher.tokens'))))
