"""What data of one's own are, in a few letters: the same for the same data, wherever they lie."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from ...provenance import file_digest


def fingerprint(root: Path, images: Iterable[Path], labels: Iterable[Path] = ()) -> str:
    """Digest of files by their paths from ``root``, so that the folder can be moved.

    Images may be many and large, and are known by name and size. Labels are small, and a corrected
    one is often as large as before: they are known by what is in them.
    """
    digest = hashlib.sha256()
    for kind, paths in (('image', images), ('labels', labels)):
        for path in paths:
            known_by = file_digest(path) if kind == 'labels' else path.stat().st_size
            # fsencode: names need not be UTF-8
            digest.update(os.fsencode(f'{kind} {path.relative_to(root)} {known_by}\n'))
    return digest.hexdigest()[:16]


def difference(there: Mapping[str, str] | None, here: Mapping[str, str]) -> str:
    """What tells data of one name apart, in words; nothing if they are the same.

    Args:
        there: task -> fingerprint, as results have them; None where they have none.
        here: the same of the data at hand. What only one of the two has is no difference.
    """
    if there is None:
        return 'which it does not have the fingerprint of'
    other = [task for task in here if there.get(task, here[task]) != here[task]]
    return f'{other[0]} {there[other[0]]}, not {here[other[0]]}' if other else ''
