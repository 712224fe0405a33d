# As g2sd_vits_generic_dinov2.py, but the student sees the whole image too, and its encoder's tokens
# predict the teacher's: no masking, no decoder.
_base_ = './g2sd_vits_generic_dinov2.py'

model = dict(decoder=None, mask_ratio=0)
distillation = dict(
    taps=dict(tokens=dict(student='norm')), adapters=dict(tokens=dict(in_channels=64)))
