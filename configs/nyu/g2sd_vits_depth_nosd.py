# G2SD without stage 2: the stage-1 ViT-S, fine-tuned plainly. A distilled student's weights run in
# this config too.
_base_ = [
    '../_base_/depth_dpt.py', '../_base_/nyu_data.py', '../_base_/nyu_recipe.py'
]

model = dict(
    backbone=dict(
        init_cfg=dict(type='Pretrained', checkpoint='work_dirs/g2sd_vits_generic/weights.pth')))
