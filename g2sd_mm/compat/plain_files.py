"""Data files that mmengine reads by their ending, without running code from them.

``mmengine.load``, and so every ``ann_file`` of a data set, unpickles ``.pkl`` files without limits,
and reads YAML with a loader that calls what the file names. Here a pickle may hold plain values
(None, numbers, texts, lists, dicts, tuples) and YAML likewise.
"""

import functools
import pickle
from types import ModuleType
from typing import IO, Any, NoReturn

from g2sd_mm.compat.import_hooks import replace_function
from g2sd_mm.errors import DataError


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
        raise DataError(f'this is not a pickle, or damaged ({error})') from error


class _PlainValues(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> NoReturn:
        """Refuse; called before anything of it could run."""
        raise DataError(
            f'refused, the pickle asks for {module}.{name}, and data are plain values; write it as '
            'JSON where you trust it'
        )


def name_the_file(fileio: ModuleType) -> None:
    """Of ``mmengine.fileio.io``: what is refused is named."""
    read = fileio.load

    @functools.wraps(read)
    def load(file: Any, *args: Any, **options: Any) -> Any:
        try:
            return read(file, *args, **options)
        except DataError as error:
            raise DataError(f'{file}: {error}') from error

    replace_function(fileio, 'load', load)


def limit_pickles(handler: ModuleType) -> None:
    """Of ``mmengine.fileio.handlers.pickle_handler``."""

    def load_from_fileobj(self: Any, file: IO[bytes], **options: Any) -> Any:
        return load_plain_pickle(file, **options)

    handler.PickleHandler.load_from_fileobj = load_from_fileobj


def limit_yaml(handler: Any) -> None:
    """Of ``mmengine.fileio.handlers.yaml_handler``."""
    handler.Loader = getattr(handler.yaml, 'CSafeLoader', handler.yaml.SafeLoader)
