"""Fingerprints by which a finished run or row is known: of what it was told, not of the code."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib.util import find_spec, resolve_name
from pathlib import Path
from typing import Any

from torch.utils._pytree import tree_leaves

from ...config.parts import LOADERS, named_imports, named_teachers
from ...config.project import project_folder
from ...provenance import READING, cache_key, file_digest
from .budget import raw_config
from .commands import Launcher, mixed_precision
from .data import OwnData
from .suites import Row, Step, Suite

Key = tuple[int, str]  # seed, step

# What a run shows and keeps may change without another result.
_SHOWN = {
    'log_level', 'log_processor', 'visualizer', 'vis_backends', 'data_layout', 'env_cfg', 'row',
}  # fmt: skip
_HOOKS = {'logger', 'timer', 'checkpoint', 'visualization'}
#: Steps of a pipeline that stop a run or change nothing.
_CHECKS = {'CheckListedSize'}
_INSTALLED = {'site-packages', 'dist-packages'}
_CONFIG = 'config.json'
_WEIGHTS = ('.pth', '.pt', '.safetensors', '.bin', '.ckpt', '.npz')


def all_digests(
    suite: Suite,
    seeds: Iterable[int],
    data: OwnData | None = None,
    launcher: Launcher | None = None,
) -> dict[Key, str]:
    """:func:`digest` of every step of the suite's rows, by seed and step."""
    digests: dict[Key, str] = {}
    for seed in seeds:
        for step in suite.steps_of(suite.rows):
            needs = [digests[seed, need] for need in step.needs]
            amp = launcher is not None and mixed_precision(step, launcher)
            digests[seed, step.name] = digest(step, seed, needs, data, amp)
    return digests


def row_digests(suite: Suite, digests: Mapping[Key, str]) -> dict[tuple[int, Row], str]:
    """Fingerprint of every row, by seed and row: its step's, and of other data to test it on."""
    return {
        (seed, row): _fingerprint([digests[seed, name], _told_by(row.data), *row.probe])
        if row.data
        else digests[seed, name]
        for seed, name in digests
        for row in suite.rows
        if row.step == name
    }


def digest(
    step: Step, seed: int, needs: Sequence[str], data: OwnData | None = None, amp: bool = False
) -> str:
    """Fingerprint of what a step is told: configuration, seed, data, and the same of what it loads.

    The configuration is taken as it is written, so that folders and devices do not matter; what it
    says of logs, checkpoints, reading processes and checks is left out. The code is not in it
    either, but for modules of somebody's own in ``custom_imports``: after another change that moves
    results, start in a new folder. Of files that are given, their content; of a config of
    somebody's own that a teacher has, what it says, and its own modules.

    Args:
        needs: digests of the steps whose weights it loads.
        data: what the suite is run on, where it is not its own.
        amp: whether it is run in mixed precision.
    """
    if step.file:
        return _fingerprint(['given', _content(Path(step.file))], data)
    cfg = raw_config(step.config, step.options).to_dict()
    told = [_telling(cfg), seed, list(needs)]
    own: list[Any] = [_content(file) for file in own_files(cfg)]
    for teacher in own_teachers(cfg):
        modules = _sources(named_imports(raw_config(teacher)), set())
        own += [_told_by(teacher), *map(_content, sorted({*modules}))]
    told += [own] if own else []
    return _fingerprint([*told, 'amp'] if amp else told, data)


def own_files(cfg: Mapping[str, Any]) -> list[Path]:
    """Weights that a config names and no run of a suite leaves, and its own modules' source.

    Of a folder with a ``config.json``, as of Hugging Face, all files; of a file that beside it.
    """
    texts = [value for value in tree_leaves(cfg) if isinstance(value, str)]
    named = [value for value in texts if value and not value.startswith('work_dirs/')]
    files = [Path(value) for value in named if value.endswith(_WEIGHTS)]
    files += [file.with_name(_CONFIG) for file in files]
    for folder in (v for v in named if os.path.isfile(os.path.join(v, _CONFIG))):
        files += Path(folder).iterdir()
    weights = {file for file in files if file.is_file()}
    return sorted({*weights, *_sources(named_imports(cfg), set())})


def own_teachers(cfg: Mapping[str, Any]) -> list[str]:
    """Configs of teachers that are files of somebody's own: no step of a suite trains them."""
    configs = (teacher.get('config') for teacher in named_teachers(cfg).values())
    files = [config for config in configs if isinstance(config, str) and Path(config).is_file()]
    ours = project_folder() / 'configs'
    return [file for file in files if not Path(file).resolve().is_relative_to(ours)]


def _sources(modules: Iterable[str], seen: set[str]) -> Iterator[Path]:
    """Files of modules that are neither this project's nor installed, and of what they import; none
    is imported here."""
    for module in modules:
        if module in seen:
            continue
        seen.add(module)
        file, above = _source(module), module.rpartition('.')[0]
        yield from _sources([above], seen)  # is run before it
        if file.is_file():
            yield file
            yield from _sources(_imported(file, module if file.stem == '__init__' else above), seen)


def _imported(file: Path, package: str) -> Iterator[str]:
    """Modules that a file names in its imports, and names that may be modules."""
    with suppress(SyntaxError, ValueError, ImportError):  # the run says so
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Import):
                yield from (each.name for each in node.names)
            elif isinstance(node, ast.ImportFrom):
                where = resolve_name('.' * node.level + (node.module or ''), package)
                yield from (f'{where}.{each.name}' for each in node.names)


def _source(module: str) -> Path:
    first, *rest = module.split('.')
    known = first in ('', 'g2sd_mm', *sys.stdlib_module_names)
    if known or (spec := find_spec(first)) is None:
        return Path()
    places = [Path(place, *rest) for place in spec.submodule_search_locations or ()]
    found = [Path(spec.origin)] if not rest and spec.origin else []
    found += [file for p in places for file in (p.with_suffix('.py'), p / '__init__.py')]
    mine = (file for file in found if _INSTALLED.isdisjoint(file.parts))
    return next(filter(Path.is_file, mine), Path())


def _content(file: Path) -> str:
    state = file.stat()
    return _read(str(file), state.st_mtime_ns, state.st_size)


@cache
def _read(file: str, modified: int, size: int) -> str:
    return file_digest(file)


def _told_by(config: str) -> dict[str, Any]:
    return _telling(raw_config(config).to_dict())


def _telling(cfg: dict[str, Any]) -> dict[str, Any]:
    """What a config says that a result can depend on."""
    cfg = {key: value for key, value in cfg.items() if key not in _SHOWN}
    for name, left_out in (('default_hooks', _HOOKS), *((name, READING) for name in LOADERS)):
        if isinstance(cfg.get(name), dict):
            cfg[name] = {key: v for key, v in cfg[name].items() if key not in left_out}
    return _without_checks(cfg)


def _without_checks(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_checks(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        kept = (v for v in value if not (isinstance(v, dict) and v.get('type') in _CHECKS))
        return type(value)(map(_without_checks, kept))
    return value


def _fingerprint(content: Any, data: OwnData | None = None) -> str:
    return cache_key(data.hide(content) if data else content)
