# ViT-L fine-tuned from MAE, sharded: a larger teacher for stage 2. The recipe is that of ViT-B, not
# a published one, with twice the drop path and with the blocks' activations computed again.
_base_ = ['../imagenet/vitb_cls.py', '../_base_/sharded.py']

model = dict(
    backbone=dict(
        arch='large',
        drop_path_rate=0.2,
        with_cp=True,
        init_cfg=dict(checkpoint='work_dirs/vitl_mae/weights.pth')),
    head=dict(in_channels=1024))
