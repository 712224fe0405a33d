"""Read checkpoints without ever running code from them.

A ``.pth`` file is a pickle, and unpickling can run anything. torch's ``weights_only`` reader
builds tensors, containers and a list of allowed types instead. mmengine uses it, but allows the
real ``getattr`` and, where the reader refuses a file, reads that very file unrestricted. Here the
list is our own (:func:`_allow_list`) and a refusal is final.
"""

import contextlib
import importlib
import os
import pickle
import re
import threading
import zipfile
from argparse import Namespace
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, NoReturn
from urllib.error import URLError

import numpy as np
import torch

from g2sd_mm.errors import CheckpointError
from g2sd_mm.text import first_line

# How the two layouts of torch.save begin: a zip archive, or before torch 1.6 a magic number.
_ZIP_START = b'PK\x03\x04'
_LEGACY_START = pickle.dumps(torch.serialization.MAGIC_NUMBER, protocol=2)
_OF_TORCH = (_ZIP_START, _LEGACY_START[:9])
_SAFETENSORS = '.safetensors'

#: Files of other kinds, by their first bytes: what they are, and what to give instead.
_FOREIGN_FILES = {
    b'GGUF': 'a GGUF file of quantised weights; give the float weights that it was made from',
    b'\x89HDF': 'an HDF5 file of Keras; give the weights of the same network for torch',
    b'\x93NUMPY': 'an array of numpy; give a file that torch.save or safetensors wrote',
}

_allow_list_lock = threading.RLock()


class UnsafeCheckpointError(CheckpointError):
    """A file that asks for code which a checkpoint has no business to ask for."""


def load_checkpoint(
    path: str | os.PathLike[str], map_location: Any = 'cpu', *, mmap: bool = False
) -> Any:
    """Read a ``.pth``, ``.pt`` or ``.safetensors`` file as plain data.

    Args:
        path: the file.
        map_location: as in ``torch.load``. For safetensors it has to name a device.
        mmap: leave the tensors on disk until they are used. Made for looking into a big file;
            keep it off where the file may be overwritten while the tensors are in use. Ignored
            for files that cannot be mapped (written before torch 1.6).

    Raises:
        FileNotFoundError: there is no such file.
        UnsafeCheckpointError: the file asks for a type or function that is not on the list.
        CheckpointError: the file is empty, truncated, or no checkpoint at all.
    """
    path = _existing(path)
    refuse_impostors(path)
    if is_safetensors(path):
        return _read_safetensors(path, map_location)
    return _read_torch(str(path), str(path), map_location, mmap=mmap and is_zip(path))


def _existing(path: str | os.PathLike[str]) -> Path:
    path = Path(path).expanduser()
    if not path.is_file():
        address = ', but an address: download it, and give the file' * (':/' in str(path))
        raise FileNotFoundError(f'{path}: no such checkpoint file{address}')
    return path


def is_bare_pickle(path: str | os.PathLike[str]) -> bool:
    """True for a pickle that ``torch.save`` did not write, as detectron2's model zoo has them.

    :func:`load_checkpoint` refuses those.

    Raises:
        FileNotFoundError: there is no such file.
    """
    path = _existing(path)
    start = _start_of(path)
    if is_safetensors(path) or _LEGACY_START.startswith(start[: len(_LEGACY_START)]):
        return False
    return start.startswith(b'\x80')


# What a file is ---------------------------------------------------------------------------------


def _start_of(path: Path, size: int = 512) -> bytes:
    with path.open('rb') as file:
        return file.read(size)


def is_safetensors(path: Path) -> bool:
    """True for what safetensors writes, whatever its name, and for a damaged file of that ending.

    It begins with the length of a header (8 bytes), which is JSON.
    """
    if not path.is_file():
        return path.suffix == _SAFETENSORS
    start = _start_of(path, 9)
    length = int.from_bytes(start[:8], 'little')
    if start[8:] == b'{' and length <= path.stat().st_size - 8:
        return True
    return path.resolve().suffix == _SAFETENSORS and not start.startswith(_OF_TORCH)


def is_zip(path: Path) -> bool:
    """True for what ``torch.save`` writes since 1.6: its tensors can be left on disk."""
    return _start_of(path, len(_ZIP_START)) == _ZIP_START


def refuse_impostors(path: Path) -> None:
    """Name the usual wrong files for what they are; torch's own messages do not.

    Raises:
        CheckpointError: from the first bytes, and a zip archive's directory.
    """
    start = _start_of(path)
    text = start.lstrip().lower()
    if not start:
        raise CheckpointError(f'{path}: the file is empty; fetch it again')
    if text.startswith((b'<!doctype', b'<html', b'<?xml')):
        raise CheckpointError(
            f'{path}: this is a web page, not a checkpoint; the download returned a page instead '
            'of the file'
        )
    if text.startswith(b'version https://git-lfs'):
        raise CheckpointError(
            f'{path}: this is a Git LFS pointer; run "git lfs pull" to get the file'
        )
    if is_safetensors(path):
        return
    if path.suffix == _SAFETENSORS and start.startswith(_OF_TORCH):  # torch goes by the name
        raise CheckpointError(f'{path}: written by torch.save, not as safetensors; name it .pth')
    if start.startswith(_ZIP_START):
        _refuse_foreign_zip(path)
    elif not start.startswith(_LEGACY_START):
        _refuse_non_zip(path, start)


def _refuse_foreign_zip(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except zipfile.BadZipFile as error:
        raise CheckpointError(
            f'{path}: the file is truncated ({path.stat().st_size} bytes); fetch it again'
        ) from error
    except OSError:
        raise  # says something about the machine, not about the file
    except Exception as error:  # a damaged directory can make its reader raise anything
        raise CheckpointError(
            f'{path}: the file is damaged ({first_line(error)}); fetch it again'
        ) from error
    names = {entry.filename.rpartition('/')[2] for entry in entries}
    if 'data.pkl' not in names:
        raise CheckpointError(f'{path}: this is a zip archive, but not one written by torch.save')
    if 'constants.pkl' in names:
        raise UnsafeCheckpointError(
            f'{path}: this is a TorchScript program, which is code; save its state_dict() instead'
        )
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        # a small file could fill the memory; torch.save compresses nothing but programs
        raise CheckpointError(f'{path}: compressed, which no file written by torch.save is')


def _refuse_non_zip(path: Path, start: bytes) -> NoReturn:
    if _LEGACY_START.startswith(start):
        raise CheckpointError(f'{path}: the file is truncated ({len(start)} bytes); fetch it again')
    if start.startswith(b'\x80'):
        raise UnsafeCheckpointError(
            f'{path}: this is a bare pickle, not a file written by torch.save, and reading it '
            'could run any code; save its tensors with torch.save where you trust the file'
        )
    for mark, what in _FOREIGN_FILES.items():
        if start.startswith(mark):
            raise CheckpointError(f'{path}: this is {what}')
    if path.suffix == '.onnx':
        raise CheckpointError(
            f'{path}: this is an ONNX graph; give the weights that it was exported from'
        )
    raise CheckpointError(
        f'{path}: this is not a checkpoint; expected a file written by torch.save'
    )


# Reading ----------------------------------------------------------------------------------------


def _read_safetensors(path: Path, map_location: Any) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    device = 'cpu' if map_location is None else str(torch.device(map_location))
    try:
        return load_file(path, device=device)
    except SafetensorError as error:
        raise CheckpointError(
            f'{path}: damaged or truncated safetensors file ({first_line(error)})'
        ) from error


def _read_torch(source: str | IO[bytes], name: str, map_location: Any, *, mmap: bool) -> Any:
    try:
        with _only_our_allow_list():
            return torch.load(source, map_location=map_location, weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        raise _refusal(name, str(error)) from None
    except (OSError, MemoryError, torch.cuda.OutOfMemoryError):
        raise  # these say something about the machine, not about the file
    except Exception as error:
        # Damaged data can make the reader raise anything, as the pickle documentation says.
        raise CheckpointError(
            f'{name}: cannot be read as a checkpoint ({type(error).__name__}: '
            f'{first_line(error)}); if the file is damaged or truncated, fetch it again'
        ) from error


def _refusal(name: str, message: str) -> CheckpointError:
    """Turn torch's several paragraphs into one line."""
    refused = re.search(r'(?:unsupported|Unsupported global:) GLOBAL (\S+)', message)
    if refused is None:
        reason = re.sub(r'\x1b\[\d+m', '', message).strip().splitlines()[-1]
        return UnsafeCheckpointError(
            f'{name}: refused, it holds more than weights and plain values ({reason})'
        )
    return UnsafeCheckpointError(
        f'{name}: refused, it asks for {refused[1]}, which is not on the list of harmless types; '
        'if you trust the file, load it elsewhere and save only its state_dict with torch.save'
    )


# The allow-list ---------------------------------------------------------------------------------


@contextlib.contextmanager
def _only_our_allow_list() -> Iterator[None]:
    """Let torch's reader know our list and no other.

    Whatever else the process has allowed is put aside meanwhile: one library that allows
    ``getattr`` would open every file. (``torch.serialization.safe_globals`` cannot do that, and
    when it closes it takes away what had been allowed before.)
    """
    serialization = torch.serialization
    with _allow_list_lock:
        theirs = serialization.get_safe_globals()
        serialization.clear_safe_globals()
        serialization.add_safe_globals(_allow_list())
        try:
            yield
        finally:
            serialization.clear_safe_globals()
            serialization.add_safe_globals(theirs)


@lru_cache(maxsize=1)
def _allow_list() -> list[Any]:
    """What a checkpoint may ask for besides tensors and containers.

    * ``Namespace``: the command line that official checkpoints carry.
    * ``ConfigDict`` and ``HistoryBuffer``: settings and loss curves of an mmengine run.
    * numpy's number types, arrays and how they are rebuilt: inside of those.
    """
    from mmengine.config import ConfigDict
    from mmengine.logging import HistoryBuffer

    numbers: list[Any] = [bool, 'i1', 'i2', 'i4', 'i8', 'u1', 'u2', 'u4', 'u8', 'f2', 'f4', 'f8']
    dtype_classes = [type(np.dtype(number)) for number in numbers]
    return [
        Namespace,
        ConfigDict,
        HistoryBuffer,
        _answering_to('builtins.getattr', _history_statistic),
        np.ndarray,
        np.dtype,
        *dtype_classes,
        *_numpy_rebuilders(),
    ]


def _numpy_rebuilders() -> list[Callable[..., Any]]:
    # numpy 2 moved the module, and files carry the name of the numpy that wrote them.
    core = '_core' if hasattr(np, '_core') else 'core'
    multiarray = importlib.import_module(f'numpy.{core}.multiarray')
    return [
        _answering_to(f'numpy.{home}.multiarray.{name}', getattr(multiarray, name))
        for home in ('core', '_core')
        for name in ('_reconstruct', 'scalar')
    ]


def _history_statistic(owner: type, name: str) -> Callable[..., Any]:
    """The one harmless use of ``getattr``: a HistoryBuffer stores its four statistics that way."""
    from mmengine.logging import HistoryBuffer

    if owner is HistoryBuffer and name in ('min', 'max', 'current', 'mean'):
        return getattr(HistoryBuffer, name)
    raise pickle.UnpicklingError('Unsupported global: GLOBAL builtins.getattr')


def _answering_to(path: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A wrapper that torch's reader finds under ``path``: it goes by module and name."""

    def stand_in(*args: Any) -> Any:
        return function(*args)

    stand_in.__module__, _, name = path.rpartition('.')
    stand_in.__name__ = stand_in.__qualname__ = name
    return stand_in


# mmengine ---------------------------------------------------------------------------------------


def read_for_mmengine(
    file: str | IO[bytes], map_location: Any = None, weights_only: bool | None = None
) -> Any:
    """Stand in for ``mmengine.runner.checkpoint._safe_torch_load``."""
    if isinstance(file, (str, os.PathLike)):
        return load_checkpoint(file, map_location)
    return _read_torch(file, 'checkpoint stream', map_location, mmap=False)


def read_from_address(
    url: str, model_dir: str | None = None, map_location: Any = None, progress: bool = True
) -> Any:
    """Stand in for ``torch.hub.load_state_dict_from_url``, which unpickles without limits."""
    folder = Path(model_dir) if model_dir else Path(torch.hub.get_dir(), 'checkpoints')
    file = folder / url.partition('?')[0].rpartition('/')[2]
    if not file.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(file), progress=progress)
        except URLError as error:
            raise CheckpointError(
                f'{url} could not be downloaded ({error.reason}): fetch it where there is a '
                f'network, and put it at {file}; or set the checkpoint of that init_cfg to a file, '
                'or the init_cfg to None'
            ) from error
    return load_checkpoint(file, map_location)
