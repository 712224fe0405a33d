# Row "proteus", pre-training: class token, all tokens, and patches that a second pass hides.
_base_ = '../shapes/g2sd_vits_generic_unmasked.py'

model = dict(
    _delete_=True, type='TwiceSeeingStudent', arch='demo-student', img_size=56, images=0.5,
    patches=0.5)
_head = dict(type='NormLinearAdapter', in_channels=64, out_channels=128)
_loss = dict(type='MSEFeatureLoss')
distillation = dict(
    taps=dict(
        _delete_=True, cls=dict(student='whole'), all=dict(student='whole'),
        hidden=dict(student='again')),
    adapters=dict(_delete_=True, cls=_head, all=_head, hidden=_head),
    # the mean over class token and 49 patches has the class token of its own head
    losses=dict(
        _delete_=True,
        loss_cls=dict(
            _loss,
            tokens='cls',
            loss_weight=1 + 1 / 50,
            inputs=dict(student='student.cls', teacher='teacher.tokens')),
        loss_patches=dict(
            _loss,
            tokens='patches',
            loss_weight=49 / 50,
            inputs=dict(student='student.all', teacher='teacher.tokens')),
        loss_hidden=dict(
            _loss,
            tokens='masked',
            inputs=dict(student='student.hidden', teacher='teacher.tokens'))))
train_cfg = dict(max_epochs=60)
