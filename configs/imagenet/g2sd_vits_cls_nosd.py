# G2SD without stage 2: the stage-1 student, fine-tuned plainly (mean of the patch tokens).
_base_ = [
    '../_base_/finetune_recipe.py', '../_base_/plain_classifier.py',
    '../_base_/imagenet_finetune_data.py'
]

model = dict(
    backbone=dict(
        init_cfg=dict(type='Pretrained', checkpoint='work_dirs/g2sd_vits_generic/weights.pth')))
