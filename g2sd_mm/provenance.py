"""Where a file comes from: the commit of the code, and the digest of what it was made with."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

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
