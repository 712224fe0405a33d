"""Read pickles of numpy arrays (detectron2's model zoo) with an unpickler that knows nothing else.

Such a file is not one of torch's. Every function and type that it asks for is looked up in a short
list of stand-ins, by name; nothing is imported, and anything else ends the reading before it could
be called.
"""

from __future__ import annotations

import codecs
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..compat.safe_load import CheckpointError, UnsafeCheckpointError

_Rebuild = Callable[..., Any]


def read_numpy_pickle(path: str | Path) -> Any:
    """The content of a pickle of plain values and arrays, arrays as CPU tensors.

    Raises:
        UnsafeCheckpointError: if it asks for anything but arrays.
        CheckpointError: if it is damaged or truncated.
    """
    path = Path(path)
    try:
        with path.open('rb') as file:
            return _tensors(_ArraysOnly(file, encoding='latin1').load())
    except (CheckpointError, OSError, MemoryError):
        raise
    except Exception as error:  # damaged data can make an unpickler raise anything
        reason = (str(error).splitlines() or [''])[0]
        raise CheckpointError(
            f'{path}: cannot be read as a pickle of arrays ({type(error).__name__}: {reason}); if '
            'the file is damaged or truncated, fetch it again'
        ) from error


class _ArraysOnly(pickle.Unpickler):
    """Admits numpy arrays, their scalars, and plain values."""

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for ``module.name``; called before anything of it could run."""
        stand_in = _STAND_INS.get((module, name))
        if stand_in is None:
            raise UnsafeCheckpointError(
                f'refused: the pickle asks for {module}.{name}, and weights are arrays and nothing '
                'else; save its tensors with torch.save where you trust the file'
            )
        return stand_in

    def persistent_load(self, pid: Any) -> Any:
        """Refuse references to data outside of the file."""
        raise UnsafeCheckpointError('refused: the pickle refers to data outside of the file')


def _reconstruct(subtype: type, shape: tuple, code: Any) -> np.ndarray:
    """The empty array that an array's state is then put into."""
    if subtype is not np.ndarray:
        raise UnsafeCheckpointError('refused: the pickle has arrays of an unknown type')
    return np.ndarray.__new__(np.ndarray, shape, code)


def _from_buffer(data: Any, dtype: np.dtype, shape: tuple, order: str) -> np.ndarray:
    return np.frombuffer(data, dtype=dtype).reshape(shape, order=order)


def _scalar(dtype: np.dtype, data: bytes) -> np.generic:
    return np.frombuffer(data, dtype=dtype)[0]


def _encode(text: str, encoding: str = 'latin1') -> bytes:
    """How old protocols write bytes."""
    return codecs.latin_1_encode(text)[0]


def _dtype(code: str, *flags: Any) -> np.dtype:
    dtype = np.dtype(code, *flags)  # a copy: the pickle then sets its byte order
    if dtype.hasobject:
        raise UnsafeCheckpointError('refused: the pickle has arrays of objects')
    return dtype


_CORES = ('numpy.core', 'numpy._core')  # numpy 2 moved it; files carry either name
_STAND_INS: dict[tuple[str, str], Any] = {
    ('collections', 'OrderedDict'): OrderedDict,
    ('_codecs', 'encode'): _encode,
    ('numpy', 'ndarray'): np.ndarray,
    ('numpy', 'dtype'): _dtype,
    **{(f'{core}.multiarray', '_reconstruct'): _reconstruct for core in _CORES},
    **{(f'{core}.multiarray', 'scalar'): _scalar for core in _CORES},
    **{(f'{core}.numeric', '_frombuffer'): _from_buffer for core in _CORES},
}


def _tensors(value: Any) -> Any:
    """Arrays as tensors that share their memory, in any nesting of dicts and lists."""
    if isinstance(value, np.ndarray):
        return _tensor(value)
    if isinstance(value, dict):
        for key in value:  # in place: a second dict of a large file's arrays would keep both
            value[key] = _tensors(value[key])
        return value
    if isinstance(value, (list, tuple)):
        return type(value)(map(_tensors, value))
    return value


def _tensor(array: np.ndarray) -> Tensor | np.ndarray:
    if array.dtype.kind not in 'biuf' or array.dtype.itemsize > 8:  # torch has no others
        return array
    if array.dtype.byteorder == '>':
        array = array.astype(array.dtype.newbyteorder('='))
    if not array.flags.writeable or not array.flags.c_contiguous:
        array = array.copy()
    return torch.from_numpy(array)
