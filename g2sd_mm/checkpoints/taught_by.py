"""Under which licences the teachers of a student are, through all stages that it went through."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import UserError
from .record import known_record

#: Name of a teacher -> its licence.
Licences = dict[str, str]


def licences_of(origin: Any) -> Licences:
    """Licences of the teachers in a record's ``origin``, and of those who taught its files."""
    return dict(_named(origin)) if isinstance(origin, Mapping) else {}


def licences_beside(weights: str | None) -> Licences:
    """The same of what is known of a weights file, by the JSON beside it or by itself."""
    if not weights or not Path(weights).is_file():
        return {}
    try:
        record = known_record(Path(weights))
    except (UserError, ValueError, OSError):  # of something else: it says nothing of these weights
        return {}
    return licences_of((record or {}).get('origin'))


def _named(origin: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    several = origin.get('teachers')
    teachers = list(several.values()) if isinstance(several, Mapping) else []
    for source in [origin.get('initialised_from'), origin.get('teacher'), *teachers]:
        if not isinstance(source, Mapping):
            continue
        if isinstance(source.get('licences'), Mapping):  # of who taught what is in the file
            yield from ((str(name), str(licence)) for name, licence in source['licences'].items())
        if isinstance(licence := source.get('licence'), str):
            yield str(source.get('model') or source.get('config') or source.get('file')), licence
