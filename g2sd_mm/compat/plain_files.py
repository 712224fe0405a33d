"""Data files that mmengine reads by their ending, without running code from them.

``mmengine.load``, and so every ``ann_file`` of a data set, unpickles ``.pkl`` files without limits,
and reads YAML with a loader that calls what the file names. Here a pickle may hold plain values
(None, numbers, texts, lists, dicts, tuples, sets) and YAML likewise.
"""

import pickle
from types import ModuleType
from typing import IO, Any, NoReturn

from g2sd_mm.compat.after_import import after_import
from g2sd_mm.errors import DataError

__all__ = ['load_plain_pickle', 'read_plain_values_only']


def read_plain_values_only() -> None:
    """Replace both readers as soon as mmengine imports them."""
    after_import('mmengine.fileio.handlers.pickle_handler', _limit_pickles)
    after_import('mmengine.fileio.handlers.yaml_handler', _limit_yaml)


def load_plain_pickle(file: IO[bytes], **options: Any) -> Any:
    """The content of a pickle of plain values.

    Raises:
        DataError: if it asks for anything else, or is damaged.
    """
    try:
        return _PlainValues(file, **options).load()
    except (DataError, OSError, MemoryError):
        raise
    except Exception as error:  # damaged data can make an unpickler raise anything
        raise DataError(f'{_name(file)}: this is not a pickle, or damaged ({error})') from error


class _PlainValues(pickle.Unpickler):
    def __init__(self, file: IO[bytes], **options: Any) -> None:
        super().__init__(file, **options)
        self._file_name = _name(file)

    def find_class(self, module: str, name: str) -> NoReturn:
        """Refuse; called before anything of it could run."""
        raise DataError(
            f'{self._file_name}: refused, the pickle asks for {module}.{name}, and data are plain '
            'values; write it as JSON where you trust it'
        )


def _name(file: IO[bytes]) -> str:
    return str(getattr(file, 'name', 'pickle'))


def _limit_pickles(handler: ModuleType) -> None:
    def load_from_fileobj(self: Any, file: IO[bytes], **options: Any) -> Any:
        return load_plain_pickle(file, **options)

    handler.PickleHandler.load_from_fileobj = load_from_fileobj


def _limit_yaml(handler: ModuleType) -> None:
    handler.Loader = getattr(handler.yaml, 'CSafeLoader', handler.yaml.SafeLoader)
