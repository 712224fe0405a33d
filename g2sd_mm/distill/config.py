"""Turn a stock config with a ``distillation`` block into a distilled one."""

from __future__ import annotations

from mmengine.config import Config, ConfigDict

from ..config.load import refuse_old_names
from ..config.parts import plain_model

_HOOKS = ('LossWarmupHook', 'TeacherGuardHook', 'WeightsExportHook')
_KEYS = {
    'teacher', 'teachers', 'teacher_weights', 'teacher_drop', 'taps', 'losses', 'adapters',
}  # fmt: skip


def distill_config(cfg: Config) -> Config:
    """``cfg`` with its model as the student of a ``SpecificDistiller``.

    Without a ``distillation`` block the config stays as it is. The block has ``teacher`` (a type
    and its arguments; without one: config, checkpoint, forward, dtype) or several ``teachers`` by
    name, ``taps``, ``losses`` and optionally ``adapters``, ``teacher_weights`` and
    ``teacher_drop``, see :class:`g2sd_mm.distill.distillation.Distillation`. Everything else
    of the config (data, schedule, evaluation) stays; the hooks that distillation needs are added.

    Raises:
        ValueError: if the block lacks a part or has an unknown one.
        UserError: for a config in the words of an earlier version.
    """
    refuse_old_names(cfg)
    block = cfg.get('distillation')
    if not block:
        return cfg
    if block.get('teacher') and block.get('teachers'):
        raise ValueError(
            'the distillation block has teacher and teachers: of a base config that has one, leave '
            'it out with teacher=None'
        )
    block = {key: part for key, part in block.items() if part is not None}
    one = 'teachers' if block.get('teachers') else 'teacher'
    lacking = {one, 'taps', 'losses'} - set(block)
    unknown = set(block) - _KEYS
    if lacking or unknown:
        raise ValueError(
            f'the distillation block needs teacher, taps and losses, and may have adapters: '
            f'lacking {sorted(lacking) or "nothing"}, unknown {sorted(unknown) or "nothing"}'
        )
    cfg = cfg.copy()
    student = plain_model(cfg)
    if cfg.get('data_preprocessor'):
        cfg.pop('data_preprocessor')  # the student has it now
    cfg.pop('distillation')
    cfg.model = ConfigDict(type='SpecificDistiller', student=student, **block)
    hooks = list(cfg.get('custom_hooks') or [])
    present = {hook['type'] for hook in hooks}
    added = _HOOKS if one == 'teacher' else (*_HOOKS, 'TeacherCostHook')
    cfg.custom_hooks = hooks + [dict(type=name) for name in added if name not in present]
    return cfg
