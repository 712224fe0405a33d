"""Words of version 0.1 that configs and options may still have: each stops with its new name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import UserError

_LOSS = 'distillation.losses.loss_tokens'
_EXAMPLE = 'a tap and a loss of their own, as in configs/ablations/g2sd_vits_generic_{}.py'
#: Entry of ``model`` in stage 1 -> what says it now.
_MOVED = {
    'student': 'model',
    'teacher': 'distillation.teacher',
    'target_block': 'distillation.teacher.until=decoder_blocks.N, with N counted from 0',
    'supervise': f'{_LOSS}.tokens',
    'beta': f'{_LOSS}.beta',
    'encoder_weight': _EXAMPLE.format('encoder'),
    'relation_weight': _EXAMPLE.format('relation'),
    'relation_heads': _EXAMPLE.format('relation'),
}


def refuse_old_names(cfg: Any) -> None:
    """Raise UserError for the first word of an earlier version in a config, options merged."""
    model = cfg.get('model') or {}
    if model.get('type') == 'GenericDistiller':
        raise UserError(
            f'{getattr(cfg, "filename", None) or "the config"} has model.type=GenericDistiller: it '
            "is now model.type=MaskedStudent with a distillation block whose teacher is of "
            "type='MAETeacher', as in configs/imagenet/g2sd_vits_generic.py"
        )
    if model.get('type') == 'MaskedStudent':
        for old in (key for key in _MOVED if key in model):
            inside = model[old]
            below = [f'.{key}' for key in inside] if isinstance(inside, Mapping) else ['']
            names = ', '.join(f'model.{old}{key} is now {_MOVED[old]}{key}' for key in below)
            raise UserError(f'{names}: change the name')
    for name, loss in ((cfg.get('distillation') or {}).get('losses') or {}).items():
        if loss and 'normalise' in loss and loss.get('type') == 'SmoothL1FeatureLoss':
            raise UserError(
                f'distillation.losses.{name}.normalise is now distillation.losses.{name}.target: '
                "'layernorm' for True, 'none' for False"
            )


def is_old_stage1_run(names: Iterable[str]) -> bool:
    """Whether a training checkpoint's parameters are those of a ``GenericDistiller``."""
    names = list(names)
    return any(n.startswith('decoderfeature_pred.') for n in names) and any(
        n.startswith('student.decoder_blocks.') for n in names
    )
