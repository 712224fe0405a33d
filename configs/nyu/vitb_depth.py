# The teacher of stage 2: ViT-B fine-tuned from MAE.
_base_ = [
    '../_base_/depth_dpt.py', '../_base_/nyu_data.py', '../_base_/nyu_recipe.py'
]

model = dict(
    backbone=dict(
        arch='base',
        init_cfg=dict(type='Pretrained', checkpoint='work_dirs/vitb_mae/weights.pth')),
    decode_head=dict(embed_dims=768, post_process_channels=(96, 192, 384, 768)))
