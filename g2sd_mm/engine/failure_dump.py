"""A step to look at again: batches, weights and seeds in one file that holds no code.

Samples are objects of the task libraries, which the safe reader refuses; they are written as plain
values, and made anew when a bundle is read.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.structures import BaseDataElement
from torch import Tensor

from ..checkpoints import CheckpointError
from ..checkpoints.write import compact_copy
from ..compat.safe_load import load_checkpoint
from ..text import one_line
from ..whole_files import whole_or_not

FORMAT = 2
_CLASS = '__class__'
_PARTS = dict(state_dict=dict, batches=list, steps=list, files=list, seed=int, rank=int)
#: What a batch may be made of beside tensors, arrays and plain values, and where it is defined.
_HOMES = {
    'InstanceData': 'mmengine.structures',
    'PixelData': 'mmengine.structures',
    'LabelData': 'mmengine.structures',
    'DataSample': 'mmpretrain.structures',
    'DetDataSample': 'mmdet.structures',
    'SegDataSample': 'mmseg.structures',
    'HorizontalBoxes': 'mmdet.structures.bbox',
    'BitmapMasks': 'mmdet.structures.mask',
    'PolygonMasks': 'mmdet.structures.mask',
}


def write_bundle(
    path: Path, *, state: Mapping[str, Tensor], batches: Sequence[Any], **facts: Any
) -> None:
    """Write a bundle, whole or not.

    Args:
        path: the file.
        state: the model's state dict before the update.
        batches: micro-batches of the update, as the data loader gave them.
        facts: plain values, see :func:`read_bundle`.

    Raises:
        OSError: if it cannot be written.
    """
    content = {
        'format': FORMAT,
        'state_dict': {name: compact_copy(tensor) for name, tensor in state.items()},
        'batches': [_plain(batch) for batch in batches],
        **facts,
    }
    with whole_or_not(path) as temporary, temporary.open('wb') as file:
        torch.save(content, file)


def read_bundle(path: str | Path) -> dict[str, Any]:
    """What :func:`write_bundle` was given, with samples as the libraries' objects again.

    ``state_dict``, ``seed``, ``rank``, ``config`` (text), and of each micro-batch ``batches``,
    ``steps`` and ``updates`` (iterations and updates before it), ``losses`` (by name) and ``files``
    (of images).

    Raises:
        CheckpointError: if the file is no bundle.
    """
    content = load_checkpoint(path)
    if not isinstance(content, dict) or content.get('format') != FORMAT or 'updates' not in content:
        raise CheckpointError(
            f'{path} is no bundle of a non-finite step: those are called non_finite_STEP_rankR.pth'
        )
    for key, kind in _PARTS.items():
        if not isinstance(content.get(key), kind):
            raise CheckpointError(f'{path} is a damaged bundle: its {key} is missing or odd')
    try:
        batches = [_rebuilt(batch) for batch in content['batches']]
        files = [[str(file) for file in batch] for batch in content['files']]
    except CheckpointError as error:
        raise CheckpointError(f'{path}: {error}') from None
    except Exception as error:  # what libraries make of values that are no samples
        raise CheckpointError(
            f'{path} is a damaged bundle: its batches are no samples ({one_line(error)})'
        ) from error
    return {**content, 'batches': batches, 'files': files}


def _plain(value: Any) -> Any:
    """Tensors, arrays, numbers, texts, lists, tuples and dicts."""
    name = type(value).__name__
    if isinstance(value, Tensor):
        return compact_copy(value)
    if isinstance(value, BaseDataElement):
        fields = {key: _plain(item) for key, item in value.items()}
        meta = {key: _plain(item) for key, item in value.metainfo_items()}
        return {_CLASS: name, 'fields': fields, 'meta': meta}
    if name == 'HorizontalBoxes':
        return {_CLASS: name, 'arguments': [compact_copy(value.tensor)]}
    if name in ('BitmapMasks', 'PolygonMasks'):
        return {_CLASS: name, 'arguments': [_plain(value.masks), value.height, value.width]}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)([_plain(item) for item in value])
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str, np.ndarray)):
        return value
    return str(value)  # facts of the samples; nothing that is computed with


def _rebuilt(value: Any) -> Any:
    if isinstance(value, dict) and _CLASS in value:
        made = _class(value[_CLASS])
        if 'arguments' in value:
            return made(*value['arguments'])
        element = made(metainfo={key: _rebuilt(item) for key, item in value['meta'].items()})
        element.set_data({key: _rebuilt(item) for key, item in value['fields'].items()})
        return element
    if isinstance(value, dict):
        return {key: _rebuilt(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)([_rebuilt(item) for item in value])
    return value


@functools.cache
def _class(name: str) -> type:
    if name not in _HOMES:
        raise CheckpointError(
            f'a bundle asks for the class {name!r:.60}, which no batch is made of'
        )
    return getattr(importlib.import_module(_HOMES[name]), name)
