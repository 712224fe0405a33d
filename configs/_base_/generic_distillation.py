# Stage 1: the student's last decoder block predicts the last one of the teacher that is run, for
# every token; the blocks behind `until` are neither run, loaded nor checked.
model = dict(type='MaskedStudent', mask_ratio=0.75)
distillation = dict(
    teacher=dict(type='MAETeacher'),
    taps=dict(tokens=dict(student='decoder_blocks.-1', teacher='decoder_blocks.-1')),
    adapters=dict(tokens=dict(type='MlpAdapter')),
    losses=dict(
        loss_tokens=dict(
            type='SmoothL1FeatureLoss', tap='tokens', beta=2.0, target='layernorm', tokens='all')))
