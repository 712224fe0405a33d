"""Read pickles of numpy arrays (detectron2's model zoo) with an unpickler that knows nothing else.

Such a file is not one of torch's. Whatever it asks for is looked up by name in a short list of
stand-ins; nothing is imported, numpy's own unpickling is not run, and anything that is not on the
list ends the reading before it could be called.
"""

from __future__ import annotations

import codecs
import os
import pickle
import warnings
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from ..compat.safe_load import CheckpointError, UnsafeCheckpointError
from ..text import first_line

_DTYPES = ('b1', 'i1', 'i2', 'i4', 'i8', 'u1', 'u2', 'u4', 'u8', 'f2', 'f4', 'f8')


def read_numpy_pickle(path: str | Path) -> Any:
    """The content of a pickle of plain values and arrays, arrays as CPU tensors.

    Raises:
        UnsafeCheckpointError: if it asks for anything but arrays of numbers.
        CheckpointError: if it is damaged or truncated.
    """
    path = Path(path)
    try:
        with path.open('rb') as file:
            return _tensors(_ArraysOnly(_Within(file), encoding='latin1').load())
    except UnsafeCheckpointError as error:
        raise UnsafeCheckpointError(f'{path}: {error}') from None
    except (OSError, MemoryError):
        raise  # these say something about the machine, not about the file
    except Exception as error:  # damaged data can make an unpickler raise anything
        raise CheckpointError(
            f'{path}: cannot be read as a pickle of arrays ({type(error).__name__}: '
            f'{first_line(error)}); if the file is damaged or truncated, fetch it again'
        ) from error


class _Within:
    """A file that is never asked for more than it has: room for it would be taken beforehand."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._end = file, os.fstat(file.fileno()).st_size
        self.readline = file.readline

    def read(self, number: int) -> bytes:
        """So many bytes.

        Raises:
            EOFError: if there are fewer.
        """
        if number > self._end - self._file.tell():
            raise EOFError(f'{number} bytes are announced, and it ends before')
        return self._file.read(number)


class _ArraysOnly(pickle._Unpickler):
    """Admits arrays, their scalars, and plain values.

    The unpickler written in Python, because it lets go of what it has read: an old protocol's array
    is a text first, and the fast one would keep every text to the end.
    """

    # of the base class, which the types of pickle do not mention
    memo: dict[Any, Any]
    read: Any
    append: Any

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for ``module.name``; called before anything of it could run."""
        if (module, name) == ('_codecs', 'encode'):
            return _StandIn(self._encode)
        if (module, name) not in _STAND_INS:
            raise UnsafeCheckpointError(
                f'refused: the pickle asks for {module}.{name}, and weights are arrays and nothing '
                'else; save its tensors with torch.save where you trust the file'
            )
        return _STAND_INS[module, name]

    def persistent_load(self, pid: Any) -> Any:
        """Refuse references to data outside of the file."""
        raise UnsafeCheckpointError('refused: the pickle refers to data outside of the file')

    def load_bytearray8(self) -> None:
        """Protocol 5's arrays; the base class makes room before it looks."""
        self.append(bytearray(self.read(int.from_bytes(self.read(8), 'little'))))

    dispatch: ClassVar[Any] = {
        **pickle._Unpickler.dispatch,
        pickle.BYTEARRAY8[0]: load_bytearray8,
    }

    def _encode(self, text: str, encoding: str = 'latin1') -> bytes:
        """How old protocols write bytes. The text is not referred to again."""
        read = (key for key, value in self.memo.items() if value is text or _holds(value, text))
        for key in list(read):
            del self.memo[key]
        return codecs.latin_1_encode(text)[0]


def _holds(value: Any, text: str) -> bool:
    return isinstance(value, tuple) and any(item is text for item in value)


class _StandIn:
    """A function under another's name, which the pickle can call and not change."""

    __slots__ = ('_call',)
    _call: Callable[..., Any]

    def __init__(self, call: Callable[..., Any]) -> None:
        object.__setattr__(self, '_call', call)

    def __call__(self, *arguments: Any) -> Any:
        return self._call(*arguments)

    def __setattr__(self, name: str, value: Any) -> None:
        raise UnsafeCheckpointError('refused: the pickle tries to change what reads it')


class _DType:
    """A number type; its state, of which only the byte order counts, comes after it."""

    def __init__(self, code: str, *flags: Any) -> None:
        if str(code).lstrip('<>|=') not in _DTYPES:
            raise UnsafeCheckpointError(
                f'refused: the pickle has arrays of {"objects" if code == "O8" else code!r}, and '
                'weights are numbers'
            )
        self.numpy = np.dtype(code)

    def __setstate__(self, state: tuple) -> None:
        if state[1] in ('<', '>'):
            self.numpy = self.numpy.newbyteorder(state[1])


class _Array:
    """An array; its state comes after it."""

    def __init__(self, *empty: Any) -> None:
        self.numpy = np.zeros(0, np.float32)

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, fortran, data = state
        self.numpy = _from_buffer(data, dtype, shape, 'F' if fortran else 'C').numpy


def _from_buffer(data: Any, dtype: _DType, shape: tuple, order: Literal['C', 'F']) -> _Array:
    array = _Array()
    if len(data) != prod(shape) * dtype.numpy.itemsize:
        raise ValueError(f'an array of shape {shape} has {len(data)} bytes')
    array.numpy = np.frombuffer(data, dtype.numpy).reshape(shape, order=order)
    return array


def _scalar(dtype: _DType, data: bytes) -> float | int | bool:
    return np.frombuffer(data, dtype.numpy)[0].item()


_CORES = ('numpy.core', 'numpy._core')  # numpy 2 moved it; files carry either name
_STAND_INS: dict[tuple[str, str], _StandIn] = {
    ('collections', 'OrderedDict'): _StandIn(dict),
    ('numpy', 'ndarray'): _StandIn(_Array),
    ('numpy', 'dtype'): _StandIn(_DType),
    **{(f'{core}.multiarray', '_reconstruct'): _StandIn(_Array) for core in _CORES},
    **{(f'{core}.multiarray', 'scalar'): _StandIn(_scalar) for core in _CORES},
    **{(f'{core}.numeric', '_frombuffer'): _StandIn(_from_buffer) for core in _CORES},
}


def _tensors(value: Any, known: dict[int, Any] | None = None) -> Any:
    """Arrays as tensors that share their memory, in any nesting of dicts and lists.

    What the pickle refers to several times is converted once: a list of ten times a list of ten
    times a list and so on is a small file, and would be endless work.
    """
    known = {} if known is None else known
    if id(value) in known:
        return known[id(value)]
    done = value
    if isinstance(value, _Array):
        done = _tensor(value.numpy)
    elif isinstance(value, dict):
        done = {key: _tensors(item, known) for key, item in value.items()}
    elif isinstance(value, (list, tuple)):
        done = type(value)(_tensors(item, known) for item in value)
    known[id(value)] = done
    return done


def _tensor(array: np.ndarray) -> Tensor:
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder('='))
    with warnings.catch_warnings():
        # the bytes that it is a view of are the pickle's, and nobody else has them
        warnings.filterwarnings('ignore', message='The given NumPy array is not writable')
        return torch.from_numpy(array)
