"""The networks of the stages with few channels and blocks: every part is there, none is wide."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config, ConfigDict

from g2sd_mm.config.project import find_config

from .stages import TOY_SIDES

STUDENT, TEACHER = 32, 48
_MAPS = 32  # channels of a detector's pyramid and heads


def shrink_config(cfg: Config, task: str) -> None:
    """Make the student and the teacher of a stage's config small, in place."""
    if task == 'generic':
        _autoencoders(cfg)
        return
    shrink = {'cls': _classifier, 'det': _detector, 'seg': _segmentor}[task]
    shrink(cfg.model, STUDENT)
    if not cfg.get('distillation'):
        return
    teacher = cfg.distillation.teacher
    big = Config.fromfile(find_config(teacher.config))
    shrink(big.model, TEACHER)
    teacher.config = big._cfg_dict.to_dict()
    for adapter in (cfg.distillation.get('adapters') or {}).values():
        if adapter.type == 'LevelAdapters':
            adapter.channels = _MAPS
        else:
            adapter.update(in_channels=STUDENT, out_channels=TEACHER)
    last = f'blocks.{cfg.model.backbone.arch["depth"] - 1}.'
    for name, tap in cfg.distillation.taps.items():
        if isinstance(tap, str):
            cfg.distillation.taps[name] = tap.replace('blocks.11.', last)


def _autoencoders(cfg: Config) -> None:
    """The two networks of stage 1, or the one of MAE pre-training."""
    distillation = cfg.get('distillation')
    networks = [cfg.model, distillation.teacher] if distillation else [cfg.model]
    for network, width in zip(networks, (STUDENT, TEACHER), strict=False):
        network.update(arch=_arch(width), decoder=_decoder(width), img_size=TOY_SIDES['generic'])
    if distillation:
        distillation.teacher.until = 'decoder_blocks.1'  # of 3
        for adapter in distillation.adapters.values():
            adapter.update(in_channels=STUDENT, out_channels=TEACHER)


def _arch(width: int, depth: int = 2) -> dict[str, int]:
    return dict(embed_dim=width, depth=depth, num_heads=2, patch_size=16)


def _decoder(width: int) -> dict[str, int]:
    return dict(embed_dim=width, depth=3, num_heads=2)


def _classifier(model: ConfigDict, width: int) -> None:
    model.backbone.update(arch=_arch(width), img_size=TOY_SIDES['cls'])
    model.head.in_channels = width


def _detector(model: ConfigDict, width: int) -> None:
    side = TOY_SIDES['det']
    model.data_preprocessor.pad_size_divisor = side
    model.backbone.update(arch=_arch(width), img_size=side, window_size=3, global_blocks=(1,))
    model.neck.update(in_channels=width, out_channels=_MAPS)
    _narrow(model)
    model.rpn_head.anchor_generator.scales = [2]
    model.train_cfg.rcnn.sampler.num = 32


def _segmentor(model: ConfigDict, width: int) -> None:
    side = TOY_SIDES['seg']
    model.backbone.update(arch=_arch(width, depth=4), img_size=side, out_indices=(0, 1, 2, 3))
    model.data_preprocessor.size = (side, side)
    model.neck.embed_dim = width
    model.decode_head.update(in_channels=[width] * 4, channels=16)
    model.auxiliary_head.update(in_channels=width, channels=16)


def _narrow(value: Any) -> None:
    """Heads of 256 channels get :data:`_MAPS`, in place."""
    if isinstance(value, dict):
        for key, item in value.items():
            if item == 256 and key.endswith('channels'):
                value[key] = _MAPS
            elif item == 1024 and key.endswith('channels'):
                value[key] = 2 * _MAPS
            else:
                _narrow(item)
