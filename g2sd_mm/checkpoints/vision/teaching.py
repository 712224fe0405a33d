"""How a file's encoder teaches stage 1: the config, and the options that name it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...config.options import option_words
from ..read import Weights
from .encoders import VisionEncoder
from .families import PLAIN
from .names import is_sin_cos
from .timm_models import timm_model

_CONFIG = 'configs/imagenet/g2sd_vits_generic_{teacher}.py'


@dataclass(frozen=True)
class Teaching:
    """Whether and how an encoder teaches.

    Attributes:
        command: the whole command line; empty if there is none.
        reason: why there is none; empty if there is one.
        note: what to know before it is used.
        teacher: the config's entry ``distillation.teacher`` for it; empty if there is no command.
        width: channels of what it answers with.
    """

    command: str = ''
    reason: str = ''
    note: str = ''
    teacher: Mapping[str, Any] = field(default_factory=dict)
    width: int = 0


def how_to_teach(weights: Weights, encoder: VisionEncoder, file: str) -> Teaching:
    """The command that distils from this encoder into a ViT-S, made for this very file.

    ``file``: its path as the user wrote it.
    """
    if encoder.library == 'Hugging Face':
        return _of_folder(weights, encoder, file)
    if not encoder.family.timm:
        return Teaching(reason='no teacher here has such a network')
    model = timm_model(weights.state, encoder)
    if model is None:
        return Teaching(
            reason='no model of the installed timm has all of these names and shapes; where one '
            'has, give distillation.teacher.model=NAME distillation.teacher.checkpoint=FILE'
        )
    options: dict[str, Any] = {'model': model.name, 'checkpoint': _file_of(weights, file)}
    note = ''
    if encoder.family is PLAIN and not weights.config:
        if is_sin_cos(weights.state.get('pos_embed')):
            options |= _of_mae(model.name)
        else:
            note = PLAIN.note
    if model.block != -1:
        options['block'] = model.block
    if not model.has_norm:
        options['norm'] = False
    return _teaching(encoder, options, model.width, note)


def _of_mae(model: str) -> dict[str, Any]:
    """How a ViT with MAE's positions sees images: timm's of no tag may have another mean."""
    from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
    from timm.models import is_model_pretrained

    if is_model_pretrained(f'{model}.mae'):
        return {'model': f'{model}.mae'}
    return {'mean': list(IMAGENET_DEFAULT_MEAN), 'std': list(IMAGENET_DEFAULT_STD)}


def _of_folder(weights: Weights, encoder: VisionEncoder, file: str) -> Teaching:
    folder = Path(weights.path)
    if not folder.is_dir():
        folder, file = folder.parent, str(Path(file).parent)
    if not (folder / 'config.json').is_file():
        return Teaching(
            reason='config.json is not beside it, without which transformers builds nothing: fetch '
            'it and preprocessor_config.json into the same folder'
        )
    if encoder.family.network != 'ViT':
        return Teaching(
            reason='transformers gives no features by block of it: take the file of timm of the '
            'same network'
        )
    note = ''
    if not any((folder / f'{n}_config.json').is_file() for n in ('preprocessor', 'processor')):
        note = (
            'preprocessor_config.json is not beside it: fetch it too, or give '
            'distillation.teacher.mean and distillation.teacher.std'
        )
    options = {'type': 'HuggingFaceTeacher', 'model': file}
    return _teaching(encoder, options, encoder.width, note)


def _teaching(
    encoder: VisionEncoder, options: Mapping[str, Any], width: int, note: str = ''
) -> Teaching:
    """The config whose teacher is the most like it, with what differs as options."""
    teacher = 'siglip2'
    if encoder.class_token or encoder.family.network != 'ViT':
        teacher = 'dinov2' if encoder.patch == 14 else 'dinov3'
    given = {f'distillation.teacher.{key}': value for key, value in options.items()}
    given['distillation.adapters.tokens.out_channels'] = width
    config, words = _CONFIG.format(teacher=teacher), shlex.join(option_words(given))
    command = f'python tools/train.py {config} --cfg-options {words}'
    no_class = {} if encoder.class_token else {'cls': 'mean'}
    return Teaching(
        command, note=note, teacher={'type': 'TimmTeacher', **options, **no_class}, width=width
    )


def _file_of(weights: Weights, file: str) -> str:
    """The file itself, where a folder was given."""
    if not Path(weights.path).is_dir():
        return file
    (only, *more) = weights.files
    return file if more else str(Path(file) / only.name)
