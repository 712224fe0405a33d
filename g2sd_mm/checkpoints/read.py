"""Read a weights file into a flat dict of tensors, whatever it or its names were wrapped in."""

from __future__ import annotations

import json
import re
import shlex
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import safe_open
from torch import Tensor

from ..compat.safe_load import (
    CheckpointError,
    is_bare_pickle,
    is_safetensors,
    load_checkpoint,
)
from ..text import printable, some
from .numpy_pickle import read_numpy_pickle

# Where the weights lie: mmengine and mmseg, then MAE, DeiT and detectron2, then DeepSpeed.
_WRAPPERS = ('state_dict', 'model', 'module')
_INDEX = '.index.json'
_SHARD = re.compile(r'-\d{5}-of-(\d{5})(?=\.\w+$)')
# What a Hugging Face folder keeps its weights in, the safer first.
_IN_FOLDER = (
    'model.safetensors',
    'model.safetensors' + _INDEX,
    'pytorch_model.bin',
    'pytorch_model.bin' + _INDEX,
)


@dataclass(frozen=True)
class Weights:
    """Tensors of one file under the names they have there, and what else it says of itself.

    Attributes:
        path: the file or folder.
        state: the tensors.
        meta: ``meta`` of a file of ours or mmengine's.
        args: the command line that official files carry.
        config: ``config.json`` of the Hugging Face folder that it lies in.
        files: the files that the tensors lie in.
        notes: what was decided in reading it: of two sets of weights, the one that was taken.
        prefixes: of wrappers (DDP, torch.compile, ...), taken off the names.
    """

    path: str
    state: dict[str, Tensor]
    meta: dict[str, Any] = field(default_factory=dict)
    args: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """File name without folders, for messages."""
        return Path(self.path).name

    @property
    def grid(self) -> tuple[int, int] | None:
        """Rows and columns of patches that the file says its positions are laid out for."""
        found = re.fullmatch(r'([1-9]\d{0,4})x([1-9]\d{0,4})', str(self.meta.get('grid')))
        return (int(found[1]), int(found[2])) if found else None


def read_weights(path: str | Path, mmap: bool = False, which: Which | None = None) -> Weights:
    """Read weights without ever running code from a file.

    ``.pth`` and whatever else ``torch.save`` wrote, ``.safetensors``, pickles of numpy arrays,
    Hugging Face folders, and the index of a file in shards.

    Args:
        path: file or folder.
        mmap: leave the tensors on disk until they are used, where the format allows. For those who
            copy what they need and are done: the tensors die with the file if it is overwritten.
        which: of a file with raw and averaged (EMA) weights, ``raw`` or ``ema``; None for those
            that lie where files have their only ones.

    Raises:
        CheckpointError: if there are no tensors, or not those that are asked for.
        OSError, ValueError: from :func:`g2sd_mm.compat.safe_load.load_checkpoint`.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        return replace(read_weights(_of_folder(path), mmap, which), path=str(path))
    if (shard := _SHARD.search(path.name)) and int(shard[1]) > 1 and path.is_file():
        index = path.name[: shard.start()] + path.suffix + _INDEX
        raise CheckpointError(
            f'{path} is one of {int(shard[1])} shards, a part of the network: give their index '
            f'({index}), or the folder'
        )
    read = _read_shards if path.name.endswith(_INDEX) else _read_file
    weights = read(path, mmap, which)
    state, prefixes = unwrapped(weights.state, weights.path)
    beside = path.parent / 'config.json'
    config = _read_json(beside) if path.name in _IN_FOLDER and beside.is_file() else {}
    return replace(weights, state=state, prefixes=prefixes, config=config)


def _read_file(path: Path, mmap: bool, which: Which | None) -> Weights:
    content = read_numpy_pickle(path) if is_bare_pickle(path) else load_checkpoint(path, mmap=mmap)
    state: Any = content
    meta: Any = {}
    args: Any = {}
    if is_safetensors(path):
        with safe_open(path, 'pt') as file:
            meta = file.metadata() or {}
    elif isinstance(content, Mapping):
        meta, args = content.get('meta') or {}, content.get('args') or {}
    for wrapper in _WRAPPERS:
        if isinstance(state, Mapping) and isinstance(state.get(wrapper), Mapping):
            state = state[wrapper]
    state, said = choose(content, state, which, str(path))
    return Weights(
        str(path),
        _tensors_of(state, path),
        dict(meta) if isinstance(meta, Mapping) else {},
        vars(args) if isinstance(args, Namespace) else {},
        files=(path,),
        notes=(said,) if said else (),
    )


def _tensors_of(state: Any, path: Path) -> dict[str, Tensor]:
    items = state.items() if isinstance(state, Mapping) else ()
    tensors = {k: t for k, t in items if isinstance(k, str) and isinstance(t, Tensor)}
    if not tensors:
        raise CheckpointError(
            f'{path} holds no weights: expected a dict of tensors, plain or under one of '
            f'{", ".join(_WRAPPERS)}'
        )
    for key, t in tensors.items():
        if t.is_quantized or t.is_meta or t.layout is not torch.strided:
            kind = 'without values' if t.is_meta else 'compressed'
            raise CheckpointError(
                f'{path} holds tensors that are {kind} ({key}), and weights are plain ones: save '
                'the network that was trained'
            )
    forged = [key for key in tensors if printable(key) != key]
    if forged:
        raise CheckpointError(
            f'{path}: the name of a tensor has control characters ({printable(forged[0]):.80}), '
            'which no network writes; refused'
        )
    return tensors


def _of_folder(path: Path) -> Path:
    """What a Hugging Face folder keeps its weights in."""
    found = next((path / name for name in _IN_FOLDER if (path / name).is_file()), None)
    if found is None:
        others = sorted(p.name for p in path.iterdir() if p.suffix in ('.pth', '.safetensors'))
        instead = f'give one of its files ({some(others)})' if others else 'give a file'
        raise CheckpointError(
            f'{path} is no folder of Hugging Face, with {_IN_FOLDER[0]} or {_IN_FOLDER[2]} in it: '
            f'{instead}'
        )
    return found


def _read_shards(path: Path, mmap: bool, which: Which | None) -> Weights:
    """All shards that an index file names; they lie beside it."""
    places = _read_json(path).get('weight_map')
    if not isinstance(places, dict) or not places:
        raise CheckpointError(f'{path}: no index of shards: it has no weight_map')
    files = sorted({str(name) for name in places.values()})
    outside = [n for n in files if Path(n).name != n or n.endswith(_INDEX) or n in ('', '..')]
    if outside:
        raise CheckpointError(f'{path} names a shard outside of its folder ({outside[0]}); refused')
    state: dict[str, Tensor] = {}
    notes: dict[str, None] = {}
    for name in files:
        if not (path.parent / name).is_file():
            raise CheckpointError(f'{path}: the shard {name} is not beside it; fetch it too')
        shard = _read_file(path.parent / name, mmap, which)
        state |= shard.state
        notes |= dict.fromkeys(shard.notes)
    lacking = [name for name in places if name not in state]
    if lacking:
        raise CheckpointError(
            f'{path}: {len(lacking)} tensors of the index are in no shard ({lacking[0]}, ...); '
            'fetch the shards again'
        )
    paths = tuple(path.parent / name for name in files)
    return Weights(str(path), state, files=paths, notes=tuple(notes))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except (ValueError, RecursionError) as error:  # of text, JSON, numbers, depth
        raise CheckpointError(f'{path}: this is not a JSON file ({error})') from error
    if not isinstance(content, dict):
        raise CheckpointError(f'{path}: expected a JSON object')
    return content


def below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Only the entries below ``prefix``, with it taken off."""
    return {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}


#: Parts of a name that a wrapper adds wherever it wraps: torch.compile, FSDP, checkpointing.
_INSERTED = ('_orig_mod', '_fsdp_wrapped_module', '_checkpoint_wrapped_module', '_fpw_module')
#: What stands before every name of a network that another module holds: DDP, Lightning.
_AROUND = ('module.', 'model.')
_FLAT = '_flat_param'  # FSDP's, of which each process has a part


def unwrapped(state: Mapping[str, Tensor], path: str) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """A state dict under the names of the network itself, however its wrappers are nested.

    Returns:
        the state dict, and the prefixes that were taken off.

    Raises:
        CheckpointError: if two names become one, or the tensors are parts of FSDP.
    """
    plain: dict[str, Tensor] = {}
    found: dict[str, None] = {}
    for name, tensor in state.items():
        parts = name.split('.')
        if parts[-1].startswith(_FLAT):
            raise CheckpointError(
                f'{path} holds the flat parts of FSDP ({name}): save a full state dict '
                '(torch.distributed.checkpoint.state_dict with full_state_dict=True)'
            )
        short = '.'.join(part for part in parts if part not in _INSERTED)
        found |= dict.fromkeys(f'{part}.' for part in parts if part in _INSERTED)
        if short in plain:
            raise CheckpointError(
                f'{path}: without {", ".join(found)} two tensors are called {short}; save one of '
                'the two networks'
            )
        plain[short] = tensor
    while prefix := next((p for p in _AROUND if _shared(plain, p)), None):
        plain = {name[len(prefix) :]: tensor for name, tensor in plain.items()}
        found[prefix] = None
    return plain, tuple(found)


def shared_prefix(state: Mapping[str, Tensor]) -> str:
    """The first part that all names share, with its dot; empty if they share none."""
    first = next(iter(state), '').partition('.')[0] + '.'
    return first if _shared(state, first) else ''


def _shared(state: Mapping[str, Tensor], prefix: str) -> bool:
    return bool(state) and all(
        name.startswith(prefix) and len(name) > len(prefix) for name in state
    )


#: Which of the two sets.
Which = Literal['raw', 'ema']

# Where training loops keep the average: timm; DeiT, ConvNeXt and torchvision; mmengine; others.
_AVERAGED = ('state_dict_ema', 'model_ema', 'ema_state_dict', 'ema_model', 'ema', 'module_ema')
_COUNTERS = ('steps', 'n_averaged', 'num_updates', 'updates', 'decay')
_IN_NAMES = 'ema_'  # mmcv 1: buffers of the model, with underscores for dots


def choose(
    content: Any, main: Any, which: Which | None, path: str
) -> tuple[Any, str]:
    """The set of weights that is asked for, of a file that may have two.

    Without ``which`` it is ``main``, the state dict where files keep their only one.

    Returns:
        the state dict, and a sentence on which set it is; empty if the file has only one.

    Raises:
        CheckpointError: if it lacks the set that is asked for.
    """
    sets, key = _sets(content, main)
    if len(sets) < 2:
        if which == 'ema' and 'ema' not in sets:
            raise CheckpointError(
                f'{path} has no averaged weights (none of {", ".join(_AVERAGED)}): leave '
                '--weights out'
            )
        if which == 'raw' and 'raw' not in sets and 'ema' in sets:
            raise CheckpointError(f'{path} has averaged (EMA) weights alone ({key})')
        return next(iter(sets.values()), main), ''
    standing = next(name for name, state in sets.items() if state is main or key == _IN_NAMES)
    chosen = which or standing
    other = 'raw' if chosen == 'ema' else 'ema'
    called = {'raw': 'raw', 'ema': 'averaged (EMA)'}
    return sets[chosen], (
        f'it has raw and averaged (EMA) weights ({key}): the {called[chosen]} ones are taken; '
        f'for the others: python tools/checkpoint.py convert {shlex.quote(path)} OUT.pth --to '
        f'same --weights {other}'
    )


def _sets(content: Any, main: Any) -> tuple[dict[str, Any], str]:
    """The sets that there are, and the key or prefix of the averaged one."""
    if isinstance(main, Mapping) and (inside := _in_names(main)):
        # mmcv swaps before it saves: the network's own names have the average
        buffers = set(inside.values())
        plain = {name: tensor for name, tensor in main.items() if name not in buffers}
        raw = plain | {name: main[buffer] for name, buffer in inside.items()}
        return {'ema': plain, 'raw': raw}, _IN_NAMES
    keys = [k for k in _AVERAGED if isinstance(content, Mapping) and _is_state(content.get(k))]
    if not keys:
        return ({'raw': main} if _is_state(main) else {}), ''
    beside = {k: v for k, v in content[keys[0]].items() if k not in _COUNTERS}
    if not _is_state(main) or main is content:
        return {'ema': beside}, keys[0]
    if keys[0] == 'ema_state_dict' and 'message_hub' in content:  # mmengine swaps, too
        return {'ema': main, 'raw': beside}, keys[0]
    return {'raw': main, 'ema': beside}, keys[0]


def _is_state(value: Any) -> bool:
    return isinstance(value, Mapping) and any(isinstance(item, Tensor) for item in value.values())


def _in_names(state: Mapping[Any, Any]) -> dict[str, str]:
    """Names of the network -> the buffers that hold their other set."""
    names = {str(name).replace('.', '_'): name for name in state if '.' in str(name)}
    found = {
        names[name[len(_IN_NAMES) :]]: name
        for name in state
        if isinstance(name, str) and name.startswith(_IN_NAMES) and name[len(_IN_NAMES) :] in names
    }
    return found if len(found) > 1 else {}
