# Stage 1 without masking: the student's feature map predicts the teacher's patches, all of them.
# Of two grids the smaller is resized. For teachers whose class token means something, add the same
# for student.cls and teacher.cls.
model = dict(type='FeatureStudent')
distillation = dict(
    taps=dict(patches=dict(student='patches')),
    adapters=dict(patches=dict(type='MlpAdapter')),
    losses=dict(
        loss_patches=dict(
            type='SmoothL1FeatureLoss',
            inputs=dict(student='student.patches', teacher='teacher.patches'),
            beta=2.0,
            target='layernorm')))
