"""The rows of the matrix: configs that come with the libraries, other heads put on, made small."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from .data import CLASSES, SIDE

#: What weights the first layers of these widths stand for: nothing is downloaded.
WIDTHS = (8, 16, 32, 64)
_SCHEDULE = ('train_cfg', 'val_cfg', 'test_cfg')


@dataclass(frozen=True)
class Row:
    """One config of the matrix.

    library: mmpretrain, mmdet or mmseg.
    backbone, head: types of the two.
    source: the stock config that it is made of, below the library's ``configs``.
    """

    library: str
    backbone: str
    head: str
    source: str

    @property
    def name(self) -> str:
        """Of the config and its work dir."""
        return f'{self.library}_{self.backbone}_{self.head}'.lower()


#: Library -> backbone -> the stock config that has it.
SOURCES = {
    'mmpretrain': {
        'ResNet': 'resnet/resnet18_8xb32_in1k.py',
        'SwinTransformer': 'swin_transformer/swin-tiny_16xb64_in1k.py',
        'VisionTransformer': 'vision_transformer/vit-base-p16_32xb128-mae_in1k.py',
    },
    'mmdet': {
        'ResNet': 'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
        'SwinTransformer': 'swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py',
        'PyramidVisionTransformer': 'pvt/retinanet_pvt-t_fpn_1x_coco.py',
    },
    'mmseg': {
        'MixVisionTransformer': 'segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py',
        'SwinTransformer':
            'swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py',
        'VisionTransformer': 'vit/vit_vit-b16_mln_upernet_8xb2-80k_ade20k-512x512.py',
    },
}
HEADS = {
    'mmpretrain': ('LinearClsHead', 'StackedLinearClsHead', 'VisionTransformerClsHead'),
    'mmdet': ('MaskRCNN', 'RetinaNet', 'FCOS'),
    'mmseg': ('SegformerHead', 'UPerHead', 'FCNHead'),
}
#: mmdet's heads are detectors of their own: the stock config of each.
DETECTORS = {
    'MaskRCNN': 'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    'RetinaNet': 'retinanet/retinanet_r50_fpn_1x_coco.py',
    'FCOS': 'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
}
ROWS = tuple(
    Row(library, backbone, head, source)
    for library, sources in SOURCES.items()
    for backbone, source in sources.items()
    for head in HEADS[library]
)
#: Every backbone and every head of a library once.
DIAGONAL = tuple(
    Row(library, backbone, HEADS[library][i], source)
    for library, sources in SOURCES.items()
    for i, (backbone, source) in enumerate(sources.items())
)
#: Where a detector is told apart by its own parts: tap on both sides, and the parts to run.
_TAPS = {
    'LinearClsHead': 'head.fc',
    'StackedLinearClsHead': 'head.layers.1.fc',
    'VisionTransformerClsHead': 'head.layers.head',
    'MaskRCNN': 'neck.fpn_convs.0.conv',
    'RetinaNet': 'neck.fpn_convs.0.conv',
    'FCOS': 'neck.fpn_convs.0.conv',
    'SegformerHead': 'decode_head.conv_seg',
    'UPerHead': 'decode_head.conv_seg',
    'FCNHead': 'decode_head.conv_seg',
}


def stock(library: str, path: str) -> Config:
    """A config that was installed with its library."""
    folder = Path(importlib.import_module(library).__file__).parent / '.mim' / 'configs'
    return Config.fromfile(folder / path)


def build(row: Row, data: Path) -> dict[str, Any]:
    """The row's config on the data of :func:`~tests.stock.data.write_data`, as plain values."""
    cfg = stock(row.library, row.source)
    _BUILDERS[row.library](cfg, row, data)
    cfg.model.pop('pretrained', None)
    cfg.model.backbone.pop('init_cfg', None)
    cfg.log_level = 'ERROR'
    for name in ('vis_backends', 'visualizer'):
        cfg.pop(name, None)
    cfg.default_hooks.pop('visualization', None)
    cfg.randomness = dict(seed=0)
    return cfg.to_dict()


def distilled(row: Row, cfg: dict[str, Any], teacher: str, weights: str) -> dict[str, Any]:
    """The row's config as a student of ``weights``, a file of the config ``teacher``."""
    tap = _TAPS[row.head]
    parts = ['backbone']
    if cfg['model'].get('neck'):
        parts.append('neck')
    if row.library != 'mmdet':
        parts.append(tap.split('.')[0])
    loss: dict[str, Any] = dict(type='SmoothL1FeatureLoss', tap='heard', target='none')
    if row.library == 'mmseg':
        loss = dict(type='ChannelWiseDivergence', tap='heard')
    block = dict(
        teacher=dict(config=teacher, checkpoint=weights, forward=parts),
        taps=dict(heard=tap),
        losses=dict(loss_heard=loss),
    )
    return {**cfg, 'distillation': block}


def write(cfg: dict[str, Any], path: Path) -> str:
    """A config file with these values."""
    path.write_text('\n'.join(f'{key} = {value!r}' for key, value in cfg.items()) + '\n')
    return str(path)


def _loader(dataset: dict[str, Any], train: bool, infinite: bool = False) -> dict[str, Any]:
    kind = 'InfiniteSampler' if infinite else 'DefaultSampler'
    return dict(
        batch_size=2, num_workers=0, dataset=dataset, sampler=dict(type=kind, shuffle=train)
    )


def _set_loaders(cfg: Config, train: dict, test: dict, infinite: bool = False) -> None:
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        cfg.pop(name, None)
    cfg.train_dataloader = _loader(train, True, infinite)
    cfg.val_dataloader = cfg.test_dataloader = _loader(test, False)


def _by_epoch(cfg: Config) -> None:
    for name in _SCHEDULE:
        cfg.pop(name, None)
    cfg.train_cfg = dict(by_epoch=True, max_epochs=1, val_interval=1)
    cfg.val_cfg, cfg.test_cfg = {}, {}
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', interval=1)


# Classification -----------------------------------------------------------------------------------


def _classifier(cfg: Config, row: Row, data: Path) -> None:
    side = SIDE // 2
    small = {
        'ResNet': dict(base_channels=8, stem_channels=8),
        'SwinTransformer': dict(
            arch=dict(embed_dims=8, depths=[1] * 4, num_heads=[1] * 4),
            img_size=side,
            pad_small_map=True,
        ),
        'VisionTransformer': dict(
            arch=dict(embed_dims=64, num_layers=2, num_heads=2, feedforward_channels=32),
            img_size=side,
            patch_size=8,
        ),
    }
    cfg.model.backbone.update(small[row.backbone])
    head: dict[str, Any] = dict(
        type=row.head, num_classes=len(CLASSES), in_channels=64, loss=cfg.model.head.loss
    )
    if row.head == 'StackedLinearClsHead':
        head.update(mid_channels=[12])
    elif row.head == 'VisionTransformerClsHead':
        head.update(hidden_dim=12)
    cfg.model.head = head
    cfg.num_classes = len(CLASSES)
    cfg.pop('param_scheduler')  # of tens of epochs
    steps = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(side, side))]
    packed = [dict(type='PackInputs')]
    flip = [dict(type='RandomFlip', prob=0.5)]
    _set_loaders(
        cfg,
        dict(type='CustomDataset', data_root=str(data / 'cls/train'),
             pipeline=[*steps, *flip, *packed]),
        dict(type='CustomDataset', data_root=str(data / 'cls/val'), pipeline=[*steps, *packed]),
    )  # fmt: skip
    _by_epoch(cfg)


# Detection ----------------------------------------------------------------------------------------


def _detector(cfg: Config, row: Row, data: Path) -> None:
    backbone = cfg.model.backbone
    small = {
        'ResNet': dict(depth=18, base_channels=8, stem_channels=8),
        'SwinTransformer': dict(
            embed_dims=8, depths=[1] * 4, num_heads=[1] * 4, window_size=4, out_indices=(0, 1, 2, 3)
        ),
        'PyramidVisionTransformer': dict(
            pretrain_img_size=SIDE, embed_dims=8, num_layers=[1] * 4, num_heads=[1, 2, 4, 8],
            mlp_ratios=[1] * 4,
        ),
    }  # fmt: skip
    backbone.update(small[row.backbone])
    cfg.model = stock('mmdet', DETECTORS[row.head]).model
    cfg.model.backbone = backbone
    cfg.model.neck.update(in_channels=list(WIDTHS), out_channels=16)
    if row.head == 'MaskRCNN':
        cfg.model.rpn_head.update(in_channels=16, feat_channels=16)
        roi = cfg.model.roi_head
        roi.bbox_roi_extractor.out_channels = roi.mask_roi_extractor.out_channels = 16
        roi.bbox_head.update(in_channels=16, fc_out_channels=16, num_classes=len(CLASSES))
        roi.mask_head.update(
            in_channels=16, conv_out_channels=16, num_convs=1, num_classes=len(CLASSES)
        )
    else:
        cfg.model.bbox_head.update(
            in_channels=16, feat_channels=16, stacked_convs=1, num_classes=len(CLASSES)
        )
        if row.head == 'FCOS':
            cfg.model.bbox_head.norm_cfg = dict(type='GN', num_groups=4, requires_grad=True)
    masks = row.head == 'MaskRCNN'
    load = dict(type='LoadImageFromFile')
    labels = dict(type='LoadAnnotations', with_bbox=True, with_mask=masks)
    resize = dict(type='Resize', scale=(SIDE, SIDE), keep_ratio=True)
    keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')
    common = dict(
        type='CocoDataset', data_root=str(data / 'det'), metainfo=dict(classes=CLASSES),
        data_prefix=dict(img=''),
    )  # fmt: skip
    _set_loaders(
        cfg,
        dict(common, ann_file='train.json', pipeline=[
            load, labels, resize, dict(type='RandomFlip', prob=0.5), dict(type='PackDetInputs'),
        ]),
        dict(common, ann_file='val.json', test_mode=True, pipeline=[
            load, resize, labels, dict(type='PackDetInputs', meta_keys=keys),
        ]),
    )  # fmt: skip
    cfg.val_evaluator = cfg.test_evaluator = dict(
        type='CocoMetric', ann_file=str(data / 'det/val.json'),
        metric=['bbox', 'segm'] if masks else 'bbox',
    )  # fmt: skip
    test_cfg = cfg.model.test_cfg.get('rcnn') or cfg.model.test_cfg
    test_cfg.score_thr = 0.0  # without any detection there are no figures
    _by_epoch(cfg)


# Segmentation -------------------------------------------------------------------------------------


def _segmentor(cfg: Config, row: Row, data: Path) -> None:
    model, size = cfg.model, (SIDE, SIDE)
    small: dict[str, dict[str, Any]] = {
        'MixVisionTransformer': dict(embed_dims=8, num_layers=[1] * 4, num_heads=[1, 2, 4, 8]),
        'SwinTransformer': dict(
            pretrain_img_size=SIDE, embed_dims=8, depths=[1] * 4, num_heads=[1] * 4, window_size=4
        ),
        'VisionTransformer': dict(
            img_size=size, patch_size=8, embed_dims=16, num_layers=2, num_heads=2,
            out_indices=(0, 1, 1, 1),
        ),
    }  # fmt: skip
    widths = list(WIDTHS)
    if row.backbone == 'VisionTransformer':
        small[row.backbone]['out_indices'] = (0, 1)
        widths = [16, 16]
        model.neck.update(in_channels=widths, out_channels=16, scales=[2, 1])
    model.backbone.update(small[row.backbone])
    shared = dict(
        channels=8, num_classes=len(CLASSES), norm_cfg=dict(type='SyncBN', requires_grad=True),
        dropout_ratio=0.1, align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    )  # fmt: skip
    every = dict(in_channels=widths, in_index=list(range(len(widths))))
    last = dict(in_channels=widths[-1], in_index=len(widths) - 1, num_convs=1)
    model.decode_head = {
        'SegformerHead': dict(type='SegformerHead', **every, **shared),
        'UPerHead': dict(type='UPerHead', pool_scales=(1, 2), **every, **shared),
        'FCNHead': dict(type='FCNHead', **last, **shared),
    }[row.head]
    model.auxiliary_head = None
    if row.head == 'UPerHead':
        model.auxiliary_head = dict(type='FCNHead', **last, **shared)
    model.data_preprocessor.size = size
    model.test_cfg = dict(mode='whole')
    load, labels = dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')
    resize = dict(type='Resize', scale=size, keep_ratio=False)

    def dataset(split: str, steps: list) -> dict[str, Any]:
        return dict(
            type='BaseSegDataset', data_root=str(data / 'seg'), metainfo=dict(classes=CLASSES),
            img_suffix='.png', pipeline=[*steps, dict(type='PackSegInputs')],
            data_prefix=dict(img_path=f'images/{split}', seg_map_path=f'masks/{split}'),
        )  # fmt: skip

    _set_loaders(
        cfg,
        dataset('train', [load, labels, resize, dict(type='RandomFlip', prob=0.5)]),
        dataset('val', [load, resize, labels]),
        infinite=True,
    )
    cfg.val_evaluator = cfg.test_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
    for name in _SCHEDULE:
        cfg.pop(name, None)
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=2, val_interval=2)
    cfg.val_cfg, cfg.test_cfg = dict(type='ValLoop'), dict(type='TestLoop')
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', by_epoch=False, interval=2)


_BUILDERS = {'mmpretrain': _classifier, 'mmdet': _detector, 'mmseg': _segmentor}
