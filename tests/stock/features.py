"""What users change in a config, each on one config a library with this project's backbones."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from mmengine.config import Config

from . import configs
from .data import SIDE

Change = Callable[[dict[str, Any], Path], None]
LIBRARIES = ('mmpretrain', 'mmdet', 'mmseg')
_HEADS = {'mmpretrain': 'LinearClsHead', 'mmdet': 'RetinaNet', 'mmseg': 'FCNHead'}
_ARCH = dict(embed_dim=16, depth=2, num_heads=2, patch_size=8)


def row(library: str) -> configs.Row:
    """The library's config, with our backbone in it."""
    source = next(iter(configs.SOURCES[library].values()))
    backbone = next(iter(configs.SOURCES[library]))
    return configs.Row(library, backbone, _HEADS[library], source)


def build(library: str, feature: str, data: Path) -> dict[str, Any]:
    """A config with our backbone and one change."""
    cfg = configs.build(row(library), data)
    _OUR_BACKBONES[library](cfg['model'])
    cfg['custom_imports'] = dict(imports=['g2sd_mm.registered'], allow_failed_imports=False)
    FEATURES[feature](cfg, data)
    return Config(cfg).to_dict()


def distilled(
    library: str, feature: str, cfg: dict[str, Any], teacher: str, weights: str
) -> dict[str, Any]:
    """See :func:`tests.stock.configs.distilled`; some changes are of what is heard."""
    done = configs.distilled(row(library), cfg, teacher, weights)
    block = done['distillation']
    if library == 'mmdet':
        block['taps'] = dict(heard='neck.simfp_2.0')
    if feature in _TAPS:
        paths = _TAPS[feature]
        if library != 'mmpretrain':  # scores are more than q k' there: positions are added
            paths = tuple(path.replace(':scores', '.qkv') for path in paths)
        block['taps'] = dict(heard=paths)
        block['losses'] = dict(loss_heard=dict(type='LayerwiseMSELoss', tap='heard'))
    if feature == 'an adapter':
        block['adapters'] = dict(heard=dict(type='TokenAdapter', in_channels=16, out_channels=16))
    if feature == 'compiled blocks':
        done['custom_imports']['imports'].append('tests.stock.eager')
        done['custom_hooks'] = [dict(type='EagerCompileHook')]
    return done


def _classifier(model: dict[str, Any]) -> None:
    side = SIDE // 2
    model['backbone'] = dict(type='G2SDViT', arch=_ARCH, img_size=side)
    model['neck'] = None
    model['head']['in_channels'] = 16


def _detector(model: dict[str, Any]) -> None:
    model['backbone'] = dict(
        type='G2SDViTDet', arch=_ARCH, img_size=SIDE, pretrain_img_size=SIDE, window_size=4,
        global_blocks=(1,),
    )  # fmt: skip
    model['neck'] = dict(type='SimpleFeaturePyramid', in_channels=16, out_channels=16)
    anchors = model['bbox_head']['anchor_generator']
    anchors['strides'] = [2, 4, 8, 16, 32]


def _segmentor(model: dict[str, Any]) -> None:
    model['backbone'] = dict(type='G2SDViTSeg', arch=_ARCH, img_size=SIDE, out_indices=(0, 1))
    model['decode_head'].update(in_channels=16, in_index=1)


_OUR_BACKBONES = {'mmpretrain': _classifier, 'mmdet': _detector, 'mmseg': _segmentor}


# Data sets ----------------------------------------------------------------------------------------


def _in_place_of_training(cfg: dict[str, Any], wrap: Callable[[dict], dict]) -> None:
    """Two images instead of four, in what ``wrap`` makes of their data set, seeded."""
    loader = cfg['train_dataloader']
    half = {**loader['dataset'], 'indices': 2}
    loader['dataset'] = dict(type='SeededDataset', dataset=wrap(half))
    infinite = loader['sampler']['type'] == 'InfiniteSampler'
    loader['sampler'] = dict(type='SeededSampler', shuffle=True, infinite=infinite)


def _joined(cfg: dict[str, Any], data: Path) -> None:
    def wrap(half: dict) -> dict:
        return dict(type='ConcatDataset', datasets=[half, copy.deepcopy(half)])

    _in_place_of_training(cfg, wrap)


def _repeated(cfg: dict[str, Any], data: Path) -> None:
    _in_place_of_training(cfg, lambda half: dict(type='RepeatDataset', times=2, dataset=half))


def _balanced(cfg: dict[str, Any], data: Path) -> None:
    def wrap(half: dict) -> dict:
        half.pop('indices')
        return dict(type='ClassBalancedDataset', oversample_thr=1e-3, dataset=half)

    _in_place_of_training(cfg, wrap)


def _mixed(cfg: dict[str, Any], data: Path) -> None:
    def wrap(half: dict) -> dict:
        half.pop('indices')
        steps = half['pipeline']
        half = {**half, 'pipeline': [s for s in steps if s['type'].startswith('Load')]}
        mosaic = 'RandomMosaic' if 'img_suffix' in half else 'Mosaic'
        mix = dict(type=mosaic, prob=1.0, img_scale=(SIDE, SIDE))
        rest = [s for s in steps if not s['type'].startswith('Load')]
        return dict(type='MultiImageMixDataset', dataset=half, pipeline=[mix, *rest])

    _in_place_of_training(cfg, wrap)


# Training -----------------------------------------------------------------------------------------


def _averaged(cfg: dict[str, Any], data: Path) -> None:
    cfg['custom_hooks'] = [dict(type='EMAHook', momentum=0.5)]


def _frozen(cfg: dict[str, Any], data: Path) -> None:
    cfg['model']['backbone']['frozen_stages'] = 1


def _frozen_by_rate(cfg: dict[str, Any], data: Path) -> None:
    wrapper = cfg['optim_wrapper']
    wrapper['constructor'] = 'ViTLayerDecayConstructor'
    wrapper['paramwise_cfg'] = dict(custom_keys={'backbone': dict(lr_mult=0.0)})


def _metrics(cfg: dict[str, Any], data: Path) -> None:
    """A list of metrics, for two classes."""
    metric = cfg['val_evaluator']
    more = {
        'Accuracy': [dict(type='SingleLabelMetric', items=['precision', 'recall'])],
        'CocoMetric': [],
        'IoUMetric': [dict(type='IoUMetric', iou_metrics=['mFscore'], prefix='f')],
    }[metric['type']]
    cfg['val_evaluator'] = cfg['test_evaluator'] = [metric, *more]


# Images -------------------------------------------------------------------------------------------


def _channels(number: int) -> Change:
    def change(cfg: dict[str, Any], data: Path) -> None:
        folder = data.parent / f'channels_{number}'
        if not folder.exists():
            _copy_with_channels(data, folder, number)
        cfg['model']['backbone']['in_channels'] = number
        for place in (cfg.get('data_preprocessor'), cfg['model'].get('data_preprocessor')):
            if place:
                place.update(mean=[100.0] * number, std=[50.0] * number)
                for key in ('to_rgb', 'bgr_to_rgb'):
                    if key in place:
                        place[key] = False
        for name in ('train', 'val', 'test'):
            dataset = cfg[f'{name}_dataloader']['dataset']
            dataset['data_root'] = dataset['data_root'].replace(str(data), str(folder))
            if 'img_suffix' in dataset:
                dataset['img_suffix'] = '.tif'
            dataset['pipeline'] = [
                {**step, 'color_type': 'unchanged', 'imdecode_backend': 'tifffile'}
                if step['type'] == 'LoadImageFromFile' else step
                for step in dataset['pipeline']
            ]  # fmt: skip

    return change


def _copy_with_channels(source: Path, target: Path, number: int) -> None:
    """The same folders; images become TIFF files of ``number`` channels."""
    from mmcv import imread

    for path in sorted(source.rglob('*')):
        place = target / path.relative_to(source)
        if path.is_dir():
            place.mkdir(parents=True, exist_ok=True)
        elif path.suffix == '.json':
            place.write_text(path.read_text().replace('.png', '.tif'))
        elif 'masks' in path.parts:
            place.write_bytes(path.read_bytes())
        else:
            grey = imread(str(path), flag='grayscale')
            pixels = np.stack([grey // (i + 1) for i in range(number)], axis=-1)
            tifffile.imwrite(
                place.with_suffix('.tif'), pixels if number > 1 else pixels[..., 0],
                photometric='minisblack', planarconfig='contig' if number > 1 else None,
            )  # fmt: skip


def _rectangular(cfg: dict[str, Any], data: Path) -> None:
    model = cfg['model']
    side = model['backbone']['img_size']
    height, width = side, side // 2
    model['backbone']['img_size'] = (height, width)
    if 'size' in (model.get('data_preprocessor') or {}):
        model['data_preprocessor']['size'] = (height, width)
    for name in ('train', 'val', 'test'):
        for step in cfg[f'{name}_dataloader']['dataset']['pipeline']:
            if step['type'] == 'Resize':
                step['scale'] = (width, height)
                if 'keep_ratio' in step:
                    step['keep_ratio'] = False


# Taps ---------------------------------------------------------------------------------------------


def _checkpointed(cfg: dict[str, Any], data: Path) -> None:
    cfg['model']['backbone']['with_cp'] = True


def _as_it_is(cfg: dict[str, Any], data: Path) -> None:
    """What is changed is the distillation alone."""


#: Change -> what is heard of both networks.
_TAPS = {
    'taps on inputs and a list': ('backbone.blocks.0:input', 'backbone.blocks.*'),
    'with_cp=True': ('backbone.blocks.*.attn:scores', 'backbone.blocks.0.attn:scores'),
    'an adapter': ('backbone.blocks.*',),
    # of the last block, where the first has none: alike but for that, they share what is compiled
    'compiled blocks': ('backbone.blocks.-1.mlp:input', 'backbone.blocks.-1'),
}

FEATURES: dict[str, Change] = {
    'ConcatDataset': _joined,
    'RepeatDataset': _repeated,
    'ClassBalancedDataset': _balanced,
    'MultiImageMixDataset': _mixed,
    'a list of metrics, two classes': _metrics,
    'EMAHook': _averaged,
    'frozen_stages=1': _frozen,
    'custom_keys with lr_mult=0': _frozen_by_rate,
    'in_channels=1': _channels(1),
    'in_channels=2': _channels(2),
    'in_channels=4': _channels(4),
    'in_channels=13': _channels(13),
    'rectangular img_size': _rectangular,
    'taps on inputs and a list': _as_it_is,
    'with_cp=True': _checkpointed,
    'an adapter': _as_it_is,
    'compiled blocks': _as_it_is,
}
#: What a library itself does not have.
NOT_UPSTREAM = {('MultiImageMixDataset', 'mmpretrain'), ('ClassBalancedDataset', 'mmseg')}
