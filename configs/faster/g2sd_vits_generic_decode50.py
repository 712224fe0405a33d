# Stage 1 whose decoders see half of the hidden patches (not in the paper): see docs/performance.md.
_base_ = '../imagenet/g2sd_vits_generic.py'

model = dict(decode_share=0.5)
