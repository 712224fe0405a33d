# G2SD without stage 2 after a stage 1 with cross-attention: a row for --add, see docs/students.md.
_base_ = './g2sd_vits_cls_nosd.py'

row = dict(
    name='g2sd_nosd_cross', title='Stage 1 with cross-attention', colour='#8a6bbe',
    claims=('g2sd_nosd',), source='docs/students.md')
model = dict(
    backbone=dict(init_cfg=dict(checkpoint='work_dirs/g2sd_vits_generic_cross/weights.pth')))
