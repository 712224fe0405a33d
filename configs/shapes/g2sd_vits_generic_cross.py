# Stage 1 at demo size with a decoder in which hidden tokens look at the visible ones alone.
_base_ = './g2sd_vits_generic.py'

model = dict(decoder_attention='cross')
distillation = dict(taps=dict(tokens=dict(student='decoded')))
