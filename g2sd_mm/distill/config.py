"""Turn a stock config with a ``distillation`` block into a distilled one."""

from __future__ import annotations

import copy
from typing import Any

from mmengine.config import Config, ConfigDict

from ..config.load import refuse_old_names
from ..config.parts import encoder_start, plain_model
from ..errors import UserError

_HOOKS = ('LossWarmupHook', 'TeacherGuardHook', 'WeightsExportHook')
#: Hooks of the libraries that call or change a part of the model that a distiller has inside.
_OF_PLAIN_MODELS = (
    'YOLOXModeSwitchHook', 'SetEpochInfoHook', 'SetAdaptiveMarginsHook', 'SwitchRecipeHook',
    'WarmupParamHook', 'PrepareProtoBeforeValLoopHook',
)  # fmt: skip
#: Entry of the block -> hook that it has the arguments of.
_STARTS = {'sliced': 'SlicedStartHook', 'fitted': 'FittedAdaptersHook'}
_KEYS = {
    'teacher', 'teachers', 'teacher_drop', 'teacher_patches', 'taps', 'losses', 'adapters',
    'inherit', *_STARTS,
}  # fmt: skip


def distill_config(cfg: Config) -> Config:
    """``cfg`` with its model as the student of a ``SpecificDistiller``.

    Without a ``distillation`` block the config stays as it is. The block has ``teacher`` (a type
    and its arguments; without one: config, checkpoint, forward, dtype) or several ``teachers`` by
    name, ``taps``, ``losses`` and optionally ``adapters`` and ``teacher_drop``, see
    :class:`g2sd_mm.distill.distillation.Distillation`; ``inherit``, see
    :class:`g2sd_mm.distill.distiller.SpecificDistiller`; and ``sliced`` and ``fitted``, the
    arguments of the hooks in :mod:`g2sd_mm.distill.starts`. Everything else of the config (data,
    schedule, evaluation) stays; the hooks that distillation needs are added.
    With ``students`` beside it, see :func:`configs_of_students`, the model is that of all of them.

    Raises:
        ValueError: if the block lacks a part or has an unknown one.
        UserError: for a config in the words of an earlier version, with two starts, or with a part
            that looks for the student's modules where a distiller does not have them.
    """
    refuse_old_names(cfg)
    if cfg.get('students'):
        return _together(cfg)
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
    if block.get('sliced'):
        _check_start(cfg)
    cfg = cfg.copy()
    _find_layers(cfg)
    student = plain_model(cfg)
    if cfg.get('data_preprocessor'):
        cfg.pop('data_preprocessor')  # the student has it now
    cfg.pop('distillation')
    starts = {name: block.pop(name) for name in _STARTS if name in block}
    cfg.model = ConfigDict(type='SpecificDistiller', student=student, **block)
    hooks = [_shown_the_student(hook) for hook in cfg.get('custom_hooks') or ()]
    present = {hook['type'] for hook in hooks}
    added = _HOOKS if one == 'teacher' else (*_HOOKS, 'TeacherCostHook')
    cfg.custom_hooks = hooks + [dict(type=name) for name in added if name not in present]
    cfg.custom_hooks += [dict(type=_STARTS[name], **given) for name, given in starts.items()]
    return cfg


def _check_start(cfg: Config) -> None:
    """A slice is all of a student's ViT: no file can say besides where it starts."""
    load_from = None if cfg.get('resume') else cfg.get('load_from')
    files = {'model.backbone.init_cfg': encoder_start(cfg), 'load_from': load_from}
    for key, file in files.items():
        if file:
            raise UserError(
                f'distillation.sliced and {key} ({file}) both say where the student starts: set '
                f'{key}=None, or distillation.sliced=None'
            )


def _shown_the_student(hook: dict) -> dict:
    """A hook of the libraries, so that it finds in the student what it looks for in the model."""
    name = _name(hook['type'])
    if name == 'MeanTeacherHook':
        raise UserError(
            'custom_hooks has MeanTeacherHook, whose teacher is trained with its student, and a '
            'distilled student has one that is frozen: leave it out'
        )
    if name not in _OF_PLAIN_MODELS:
        return hook
    inner = {**hook}
    own = {'priority': inner.pop('priority')} if 'priority' in inner else {}
    return dict(type='StudentHook', hook=inner, **own)


def _find_layers(cfg: Config) -> None:
    """Have a library's layer-wise decay look for layers in the student, whose names it knows."""
    wrapper = cfg.get('optim_wrapper') or {}
    kind = wrapper.get('constructor')
    if _name(kind).startswith(('LearningRateDecay', 'LayerDecay')):
        settings = {**(wrapper.get('paramwise_cfg') or {}), 'constructor': kind}
        found = dict(constructor='StudentOptimWrapperConstructor', paramwise_cfg=settings)
        cfg.optim_wrapper = {**wrapper, **found}


def _name(kind: Any) -> str:
    """A class's name, of a config that has the class, or its name with or without a scope."""
    return getattr(kind, '__name__', str(kind)).rpartition('.')[2]


def configs_of_students(cfg: Config) -> dict[str, Config]:
    """What each student of a config with ``students`` would be trained with in a run of its own.

    ``students`` has, by name, the changes of ``model`` and ``distillation``, merged as a config
    merges its base; ``{}`` is the config's own student.

    Raises:
        UserError: for a config of one student's start or validation, and for students that are not
            like that.
    """
    own = {
        'val_dataloader': 'several students are for stage 1, which validates nothing',
        'load_from': 'a file starts one student; init_cfg of its model starts each',
        'online_knn': 'it looks at one student: probe NAME/weights.pth when the run has ended',
    }
    for key, why in own.items():
        if cfg.get(key) and not (key == 'load_from' and cfg.get('resume')):
            raise UserError(f'the config has students and {key} ({why}): set {key}=None')
    if (cfg.get('optim_wrapper') or {}).get('clip_grad'):
        raise UserError(
            'the config has students and optim_wrapper.clip_grad, whose norm is that of all '
            'students together: set it to None, or train them one by one'
        )
    if not cfg.get('distillation'):
        raise UserError('the config has students and no distillation block: add the teacher')
    configs = {}
    for name, changes in cfg.students.items():
        if not name.isidentifier() or 'loss' in name:
            raise UserError(
                f'students has {name!r}: a student is called by letters, digits and underscores, '
                'without "loss", since its figures and its folder are'
            )
        if unknown := set(changes or ()) - {'model', 'distillation'}:
            raise UserError(
                f'students.{name} has {", ".join(sorted(unknown))}: students differ in model and '
                'distillation, and share data and schedule'
            )
        configs[name] = one = copy.deepcopy(cfg)
        one.pop('students')
        one.merge_from_dict(copy.deepcopy(dict(changes or {})))
    return configs


def _together(cfg: Config) -> Config:
    """A config of several students with the model of all of them."""
    distilled = {name: distill_config(one) for name, one in configs_of_students(cfg).items()}
    parts = {name: {**one.model} for name, one in distilled.items()}
    for part in parts.values():
        part.pop('type')
    together = next(iter(distilled.values()))
    together.model = ConfigDict(type='SeveralStudents', students=parts)
    return together
