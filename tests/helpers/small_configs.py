"""Any config of the project with narrow networks and small pictures; depth and data steps stay."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config, ConfigDict

from g2sd_mm.models.sizes import decoder_size, encoder_size

from . import odd_coco, small_depth, small_masks
from .toys import ROOT

#: Width of an encoder at test size; all have two heads.
WIDTHS = {'tiny': 24, 'small': 24, 'base': 32, 'large': 40, 'demo-student': 24, 'demo-teacher': 32}
DECODER_WIDTHS = {'student': 16, 'teacher': 20}


def arch(name: str) -> dict[str, int]:
    """A named encoder, narrow."""
    size = encoder_size(name)
    return dict(
        embed_dim=WIDTHS[name], depth=size.depth, num_heads=2, patch_size=size.patch_size
    )


def decoder(name: str, role: str) -> dict[str, int]:
    """A named decoder, narrow."""
    return dict(embed_dim=DECODER_WIDTHS[role], depth=decoder_size(name).depth, num_heads=2)


def shrink(cfg: Config) -> Config:
    """A narrow copy; a distilled config's teacher is narrowed in the same way."""
    kind = cfg.model.type
    if kind == 'MaskedStudent':
        _autoencoders(cfg)
        return cfg
    if kind == 'MAEPretraining':
        role = 'teacher' if WIDTHS[cfg.model.arch] > 24 else 'student'
        cfg.model.update(arch=arch(cfg.model.arch), decoder=decoder(cfg.model.decoder, role))
    else:
        cfg = _TASKS[kind](cfg)
    if cfg.get('distillation'):
        _shrink_teacher(cfg.distillation)
    return cfg


def _autoencoders(cfg: Config) -> None:
    block = cfg.distillation
    parts = {'student': cfg.model, 'teacher': block.teacher}
    wide = [WIDTHS[part.arch] for part in parts.values()]
    for role, part in parts.items():
        part.update(arch=arch(part.arch), decoder=decoder(part.decoder, role))
    for tap, adapter in block.adapters.items():
        widths = [*DECODER_WIDTHS.values()] if tap == 'tokens' else wide
        adapter.update(in_channels=widths[0], out_channels=widths[1])


def _classifier(cfg: Config) -> Config:
    backbone = cfg.model.backbone
    cfg.model.head.in_channels = WIDTHS[backbone.arch]
    backbone.arch = arch(backbone.arch)
    return cfg


def _detector(cfg: Config) -> Config:
    cfg = Config(odd_coco.shrink(cfg._cfg_dict.to_dict()))
    backbone = cfg.model.backbone
    cfg.model.neck.in_channels = WIDTHS[backbone.arch]
    backbone.arch = arch(backbone.arch)
    cfg.model.test_cfg.rcnn.score_thr = 0.0  # without any detection there are no figures
    return cfg


def _segmentor(cfg: Config) -> Config:
    backbone = cfg.model.backbone
    init = backbone.get('init_cfg')
    narrow = arch(backbone.arch)
    backbone.setdefault('init_cfg', None)
    small_masks.shrink(cfg.model, narrow['embed_dim'])
    backbone.update(arch=narrow, init_cfg=init)
    side = small_masks.CROP
    loaders = [cfg.get(f'{name}_dataloader') for name in ('train', 'val', 'test')]
    for dataset in (loader.dataset for loader in loaders if loader):
        for step in dataset.get('dataset', dataset).pipeline:
            if step.type in ('RandomResize', 'Resize'):
                step.scale = (4 * side, side) if cfg.model.test_cfg.mode == 'slide' else (side,) * 2
            elif step.type == 'RandomCrop':
                step.crop_size = (side, side)
    return cfg


def _depth_estimator(cfg: Config) -> Config:
    backbone = cfg.model.backbone
    backbone.arch = arch(backbone.arch)
    small_depth.shrink(cfg, backbone.arch['embed_dim'])
    return cfg


_TASKS = {
    'ImageClassifier': _classifier, 'MaskRCNN': _detector, 'EncoderDecoder': _segmentor,
    'DepthEstimator': _depth_estimator,
}


def _shrink_teacher(block: ConfigDict) -> None:
    teacher = Config.fromfile(ROOT / block.teacher.config)
    wide = teacher.model.backbone.arch
    teacher = shrink(teacher)
    parts: dict[str, Any] = {'model': teacher.model.to_dict()}
    for key in ('default_scope', 'data_preprocessor'):
        if teacher.get(key):
            parts[key] = teacher[key]
    block.teacher.config = parts
    for adapter in (block.get('adapters') or {}).values():
        if adapter.type in ('Conv2d', 'TokenAdapter'):
            adapter.update(in_channels=24, out_channels=WIDTHS[wide])


def two_steps(cfg: Config) -> Config:
    """Two steps of two images, validation at the end, in this process."""
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if cfg.get(name):
            few = min(cfg[name].batch_size, 2)
            cfg[name].update(batch_size=few, num_workers=0, persistent_workers=False)
    by_epoch = 'max_epochs' in cfg.get('train_cfg', {})
    if by_epoch:  # of four images
        cfg.train_cfg.max_epochs = 1
        cfg.param_scheduler[0].warmup = 0
    elif cfg.get('train_cfg'):
        cfg.train_cfg.max_iters = 2
        cfg.default_hooks.checkpoint.interval = 2
    if cfg.get('val_dataloader'):
        cfg.train_cfg.val_interval = 1 if by_epoch else 2
    cfg.log_level = 'ERROR'
    return cfg
