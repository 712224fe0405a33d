# Stage 1 from a vision encoder without a decoder (timm's or transformers'), which sees the whole
# image once. The student stays masked: its decoder predicts the class token and all patch tokens
# of the encoder's last block, behind its final norm.
#
# target='mean_std': features of foundation models have channels of very different size. Each is
# standardised by mean and variance over the first 500 updates, which is simpler than PHI-S; the
# statistics lie in the checkpoint. With them Smooth-L1 (beta 2) starts near 0.25, as G2SD's does.
#
# Cost of a step, in multiply-adds per image (12 N D^2 + 2 N^2 D a block), ViT-B -> ViT-S at 224 px:
#   full-image teacher  12 blocks, N 197, D 768                                 17.6 G
#   G2SD's MAE teacher  12 blocks, N 50, D 768, and 4 of decoder, N 197, D 512   7.0 G
#   student, forward and backward: 3 x (12 of N 50, D 384, and 4 of N 197, D 256) 5.4 G
# so 23.0 instead of 12.4: 1.9 times the arithmetic of the published stage 1.
model = dict(type='MaskedStudent', mask_ratio=0.75)
distillation = dict(
    # weights: distillation.teacher.checkpoint=FILE, or distillation.teacher.pretrained=True, which
    # fetches them. `python tools/checkpoint.py inspect FILE` prints the options for your own file.
    teacher=dict(type='TimmTeacher', block=-1),
    taps=dict(tokens=dict(student='decoder_blocks.-1')),
    adapters=dict(tokens=dict(type='MlpAdapter')),
    losses=dict(
        loss_tokens=dict(
            type='SmoothL1FeatureLoss',
            inputs=dict(student='student.tokens', teacher='teacher.tokens'),
            beta=2.0,
            target='mean_std',
            tokens='all')))
