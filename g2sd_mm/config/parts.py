"""Where a config has what several parts of the project look for in it, or put into it."""

from __future__ import annotations

import copy
import importlib
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import torch
from mmengine.config import Config, ConfigDict

from ..errors import UserError
from ..tasks import Task, scopes, task_of
from .project import find_config

#: What the path of packed data begins with, see :mod:`g2sd_mm.datasets.packed`.
PACKED = 'packed://'
#: Names of a config's data loaders.
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
#: Names of a config's evaluators.
EVALUATORS = ('val_evaluator', 'test_evaluator')
#: Where a network's weights would come from before a file fills it.
SOURCES = ('init_cfg', 'pretrained', 'checkpoint_path')
#: Where a data set that wraps others has them.
_HOLDERS = ('dataset', 'datasets')


def data_folder() -> str:
    """What ``data/`` in a config stands for: the variable ``G2SD_DATA``, else itself."""
    return os.environ.get('G2SD_DATA', 'data')


def entries(value: Any, place: str = '') -> Iterator[tuple[str, Any]]:
    """A config, or a part of one, and all inside of it, with dotted places; from the outside in."""
    yield place, value
    items: list[Any] = []
    if isinstance(value, Mapping):
        items = list(value.items())
    elif isinstance(value, (list, tuple)):
        items = list(enumerate(value))
    for key, item in items:
        yield from entries(item, f'{place}.{key}')


def typed_parts(cfg: Mapping[str, Any], names: Iterable[str]) -> Iterator[Any]:
    """Every part with a ``type`` below some top-level names of a config."""
    for name in names:
        found = (part for _, part in entries(cfg.get(name)))
        yield from (part for part in found if isinstance(part, Mapping) and 'type' in part)


def peer_timeout(cfg: Mapping[str, Any]) -> timedelta:
    """After how long a process of the run that does not answer is given up.

    ``env_cfg.dist_cfg.timeout`` in seconds; half an hour if a config says nothing, since the others
    wait while one evaluates.
    """
    settings = (cfg.get('env_cfg') or {}).get('dist_cfg') or {}
    return timedelta(seconds=settings.get('timeout', 1800))


def add_hook(cfg: Config, kind: str, **settings: Any) -> None:
    """Put a hook behind a config's, in place, and for one that it, or an earlier run of it, had.

    What that was given, and is not said here, stays.
    """
    others: list[Any] = []
    before: Mapping[str, Any] = {}
    for hook in cfg.get('custom_hooks') or []:
        if isinstance(hook, Mapping) and hook.get('type') == kind:
            before = hook
        else:
            others.append(hook)
    cfg.custom_hooks = [*others, {**before, 'type': kind, **settings}]


def all_datasets(dataset: Any) -> Iterator[Any]:
    """A data set's config, and those inside of it: what it seeds, repeats, balances, joins, mixes.

    From the outside in; several that are joined, in their order.
    """
    if isinstance(dataset, (list, tuple)):
        for part in dataset:
            yield from all_datasets(part)
    elif isinstance(dataset, Mapping):
        yield dataset
        for key in _HOLDERS:
            yield from all_datasets(dataset.get(key))


def innermost_datasets(dataset: Any) -> list[Any]:
    """The data sets that have files of their own; more than one if they are joined."""
    return [
        part
        for part in all_datasets(dataset)
        if not any(isinstance(part.get(key), (Mapping, list, tuple)) for key in _HOLDERS)
    ]


def innermost_dataset(dataset: Mapping[str, Any]) -> Any:
    """The data set itself, inside of what seeds, repeats or balances it; of several, the first."""
    return next(iter(innermost_datasets(dataset)), dataset)


def fit_sampler(cfg: Config) -> None:
    """Let a ``SeededSampler`` go on from pass to pass where the run counts iterations, in place.

    A config by epochs that is trained by iterations has one that ends with its pass.

    Raises:
        UserError: if the data set that takes its keys is inside of another one, or an epoch would
            have no end.
    """
    loader = cfg.train_dataloader
    sampler, dataset = loader.get('sampler'), loader.get('dataset')
    kind = sampler.get('type') if isinstance(sampler, Mapping) else None
    if kind == 'InfiniteSampler' and cfg.train_cfg.type == 'ResumableEpochLoop':
        raise UserError(
            'train_dataloader.sampler: InfiniteSampler has no end, and the run is by epochs: give '
            "sampler=dict(type='SeededSampler', shuffle=True), or train_cfg by iterations "
            '(by_epoch=False, max_iters=N)'
        )
    if kind != 'SeededSampler':
        return
    outermost, *inner = [part.get('type') for part in all_datasets(dataset)] or [None]
    if outermost != 'SeededDataset' and 'SeededDataset' in inner:
        raise UserError(
            f'train_dataloader.dataset: SeededDataset is inside of {outermost}, and the keys of '
            "SeededSampler are for it: put it outside, as in dataset=dict(type='SeededDataset', "
            f"dataset=dict(type='{outermost}', ...))"
        )
    if cfg.train_cfg.type == 'ResumableIterLoop':
        sampler['infinite'] = True


def task_of_config(cfg: Mapping[str, Any]) -> Task | None:
    """The task that a config trains, by its library and model; None where it is none of ours."""
    model = cfg.get('model') or {}
    student = model.get('student')
    scope = model.get('_scope_') or cfg.get('default_scope')
    return task_of(scope, student if isinstance(student, Mapping) else model)


def network_of(cfg: Mapping[str, Any]) -> Any:
    """The config of the network itself, beside a teacher or inside of test-time augmentation."""
    model = cfg.get('model') or {}
    return model.get('student') or model.get('module') or model


def plain_model(cfg: Config) -> ConfigDict:
    """A config's model (of a distilled config, the student) as any registry can build it.

    With the scope of its library, and with the preprocessor that classification configs keep beside
    the model. The config stays as it is, also where a network changes what it is built from, as
    detectors of the DETR family do.
    """
    model: ConfigDict = copy.deepcopy(cfg.model)
    model.setdefault('_scope_', cfg.get('default_scope') or 'mmengine')
    if cfg.get('data_preprocessor'):
        model.setdefault('data_preprocessor', cfg.data_preprocessor)
    return model


def without_sources(value: Any) -> Any:
    """A model's config without the weights that its parts would start from."""
    if isinstance(value, Mapping):
        kept = {key: without_sources(item) for key, item in value.items() if key not in SOURCES}
        return ConfigDict(kept) if isinstance(value, ConfigDict) else kept
    if isinstance(value, (list, tuple)):
        return type(value)(without_sources(item) for item in value)
    return value


def teacher_config(config: str | Mapping[str, Any], overrides: Mapping[str, Any] | None) -> Config:
    """The config of a teacher that has one, a file's or a loaded one, with its overrides."""
    cfg = Config.fromfile(find_config(config)) if isinstance(config, str) else Config(dict(config))
    cfg.merge_from_dict(copy.deepcopy(dict(overrides or {})))  # takes _delete_ out
    return cfg


def preprocessor_of(cfg: Mapping[str, Any]) -> Mapping[str, Any]:
    """The preprocessor of a config's network (of a distilled config, the student's).

    A model's own counts before the one beside it, as where the network is built; empty if there is
    none.
    """
    model = cfg.get('model') or {}
    model = model.get('module') or model  # of test-time augmentation
    inner = model.get('student') if model.get('type') == 'SpecificDistiller' else None
    parts = (part.get('data_preprocessor') for part in (inner or {}, model, cfg))
    return next(filter(None, parts), {})


def teachers_in(block: Mapping[str, Any] | None) -> dict[str, Any]:
    """Configs of a ``distillation`` block's teachers by name; the only one is called ``''``."""
    block = block or {}
    if block.get('teachers'):
        return dict(block['teachers'])
    return {'': block['teacher']} if block.get('teacher') else {}


def distillations_in(cfg: Mapping[str, Any]) -> list[Any]:
    """The ``distillation`` block of a config, and hooks that add the same to a stock model."""
    hooks = cfg.get('custom_hooks') or ()
    places = cfg.get('distillation'), *(h for h in hooks if h.get('type') == 'DistillationHook')
    return [block for block in places if block]


def use_block(cfg: Config) -> Config:
    """Let a block say what a ``DistillationHook`` says, in place, so that it can be counted.

    Raises:
        UserError: for a config that distils in several places, of which one would count.
    """
    places = distillations_in(cfg)
    if len(places) > 1:
        raise UserError(
            'a row of a suite distils in one place, and this config in '
            f'{len(places)}: several teachers can stand in one block, distillation.teachers'
        )
    for hook in [one for one in places if one.get('type')]:
        cfg.custom_hooks = [other for other in cfg.custom_hooks if other != hook]
        cfg.distillation = {k: v for k, v in hook.items() if k not in ('type', 'priority')}
    return cfg


def named_teachers(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """The teachers' entries of a config by name, wherever they stand; the only one is ``''``."""
    return next(filter(None, map(teachers_in, (cfg.get('model'), *distillations_in(cfg)))), {})


def use_random_weights(cfg: Config, dtype: str = 'float32') -> Config:
    """Random weights where a network and its teachers would start from files, in place.

    ``dtype`` is the precision of the teachers.
    """
    if cfg.model.get('backbone'):
        cfg.model.backbone.init_cfg = None
    for teacher in teachers_in(cfg.get('distillation')).values():
        teacher.update(checkpoint=None, random_weights=True, dtype=dtype)
        teacher.pop('pretrained', None)
    return cfg


def students_in(cfg: Config) -> dict[str, Config]:
    """A distilled config of each student by name; of a config of one, itself, called ``''``."""
    if (cfg.get('model') or {}).get('type') != 'SeveralStudents':
        return {'': cfg}
    configs = {}
    for name, part in cfg.model.students.items():
        configs[name] = one = cfg.copy()
        one.model = ConfigDict(type='SpecificDistiller', **part)
    return configs


def teacher_place(name: str) -> str:
    """Where a teacher of that name stands in a config."""
    return f'distillation.teachers.{name}' if name else 'distillation.teacher'


def encoder_start(cfg: Mapping[str, Any]) -> Any:
    """The file that the trained backbone starts from (of a distilled model, the student's).

    In ``init_cfg`` of the backbone, or ``pretrained`` of the model, as in most configs of mmseg.
    """
    model = cfg.get('model') or {}
    network = model.get('student') or model
    init = (network.get('backbone') or {}).get('init_cfg')
    return init.get('checkpoint') if isinstance(init, Mapping) else network.get('pretrained')


def named_imports(cfg: Mapping[str, Any]) -> list[str]:
    """Modules of a config's ``custom_imports``, which may be one name or several."""
    names = (cfg.get('custom_imports') or {}).get('imports') or ()
    return [names] if isinstance(names, str) else list(names)


def import_named_libraries(cfg: Config) -> None:
    """Import the libraries that a config takes parts from, beside its own.

    They have to be there before its own library: where that finds them while it is loaded, it makes
    more parts of them. Where no config names them it is kept from looking (they take seconds).

    Raises:
        UserError: for a language model, and a transformers that it does not know.
    """
    parts = [part for _, part in entries(cfg._cfg_dict) if isinstance(part, Mapping)]
    named = {str(part.get(key)) for part in parts for key in ('type', '_scope_')}
    if 'BertModel' in named and find_spec('transformers'):
        if not (release := version('transformers')).startswith('4.'):
            raise UserError(
                f'model.language_model: BertModel works with transformers 4, and {release} is '
                "installed: pip install 'transformers<5'"
            )
        importlib.import_module('transformers')
    libraries = {name.partition('.')[0] for name in named} & set(scopes())
    for library in sorted(libraries - {cfg.get('default_scope')}):
        importlib.import_module(f'{library}.models')


#: Batch norm of all processes, torch's and mmcv's.
SYNCHRONISED = ('SyncBN', 'MMSyncBN')


def sync_batch_norm(cfg: Config, launcher: str) -> Config:
    """Fit a config's synchronised batch norm to how it is launched, in place.

    Configs ask for it, for the published runs on several GPUs. With one process there is
    nobody to synchronise with, and on CPUs the layer refuses to train: both get ``BN``, which has
    the same parameters, so checkpoints fit either way.

    A teacher's config needs no change: it never trains. ``launcher`` is that of the processes.
    """
    if launcher == 'none' or not torch.cuda.is_available():
        for _, part in entries(cfg._cfg_dict):
            if isinstance(part, dict) and part.get('type') in SYNCHRONISED:
                part['type'] = 'BN'
    return cfg
