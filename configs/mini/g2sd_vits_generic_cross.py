# Stage 1 of the mini suite, decoder with cross-attention: a run for --add, see docs/students.md.
_base_ = './g2sd_vits_generic.py'

model = dict(decoder_attention='cross')
distillation = dict(taps=dict(tokens=dict(student='decoded')))
