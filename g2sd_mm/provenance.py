"""Where a file comes from: the commit of the code, and the digest of what it was made with."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

#: Entries of a data loader that change no result: samples are seeded by their number, whichever
#: process reads them.
READING = frozenset(('num_workers', 'persistent_workers', 'prefetch_factor', 'pin_memory'))

_PACKAGE = Path(__file__).resolve().parent


def git_commit() -> str | None:
    """Commit of the checkout that this package runs from, ``+changes`` if files differ from it.

    None for an installed package: a repository that it merely lies in is somebody else's.
    """
    try:
        _git('ls-files', '--error-unmatch', Path(__file__).name)
        commit = _git('rev-parse', '--short', 'HEAD')
        return commit + ('+changes' if _git('status', '--porcelain', '-uno') else '')
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*args: str) -> str:
    done = subprocess.run(['git', *args], cwd=_PACKAGE, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file, in hex; what ``sha256sum`` prints.

    Raises:
        OSError: if it cannot be read.
    """
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def digest_if_there(path: str | None) -> str | None:
    """:func:`file_digest`, or None where there is no such file (an address, or nothing)."""
    return file_digest(path) if path and Path(path).is_file() else None


def cache_key(content: Any, ignore: Collection[str] = ()) -> str:
    """16 hex digits that stand for plain values: the same for equal ones in any order of keys.

    Args:
        content: dicts, lists, tuples, texts and numbers; anything else counts by its ``str``.
        ignore: keys that are left out of every dict, since they change no result.
    """
    text = json.dumps(_without(content, ignore), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _without(value: Any, ignored: Collection[str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _without(item, ignored) for key, item in value.items() if key not in ignored}
    if isinstance(value, (list, tuple)):
        return [_without(item, ignored) for item in value]
    return value
