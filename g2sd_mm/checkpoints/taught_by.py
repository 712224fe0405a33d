"""Under which licences the teachers of a student are, through all stages that it went through."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import UserError
from .record import read_sidecar

#: Name of a teacher -> its licence.
Licences = dict[str, str]


def licences_of(origin: Any) -> Licences:
    """Licences of the teachers in a record's ``origin``, and of those of what it started from."""
    return dict(_named(origin)) if isinstance(origin, Mapping) else {}


def licences_beside(weights: str | None) -> Licences:
    """The same of what the JSON beside a weights file says; empty if there is none."""
    if not weights:
        return {}
    try:
        record = read_sidecar(weights)
    except UserError:  # of something else: it says nothing of these weights
        return {}
    return licences_of((record or {}).get('origin'))


def _named(origin: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    start = origin.get('initialised_from')
    if isinstance(start, Mapping) and isinstance(start.get('licences'), Mapping):
        yield from ((str(name), str(licence)) for name, licence in start['licences'].items())
    several = origin.get('teachers')
    teachers = list(several.values()) if isinstance(several, Mapping) else []
    for teacher in [origin.get('teacher'), *teachers]:
        licence = teacher.get('licence') if isinstance(teacher, Mapping) else None
        if isinstance(licence, str):
            yield str(teacher.get('model') or teacher.get('config') or teacher.get('file')), licence
