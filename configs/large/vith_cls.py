# ViT-H/14 fine-tuned from MAE, sharded, by the recipe of vitl_cls.py.
_base_ = './vitl_cls.py'

# from the encoder of any file of this size: --cfg-options model.backbone.init_cfg.checkpoint=FILE
model = dict(
    backbone=dict(arch='huge', init_cfg=dict(checkpoint='work_dirs/vith_mae/weights.pth')),
    head=dict(in_channels=1280))
