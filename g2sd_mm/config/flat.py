"""A config as dotted keys and values, as a person wrote them: to compare two of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any


def as_written(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """A config with the student as ``model`` and the rest as ``distillation``; others as they are.

    ``distill_config`` puts both into one model, and the student's preprocessor with it: a distilled
    run and a plain one would have no entry in common.
    """
    model = cfg.get('model') or {}
    if model.get('type') != 'SpecificDistiller':
        return dict(cfg)
    student = {key: part for key, part in model['student'].items() if key != '_scope_'}
    moved = {key: student.pop(key) for key in ('data_preprocessor',) if key in student}
    block = {key: part for key, part in model.items() if key not in ('type', 'student')}
    return {**cfg, **moved, 'model': student, 'distillation': block}


def flat(
    value: Any, left_out: Collection[str] = (), place: str = ''
) -> Iterator[tuple[str, Any]]:
    """Dotted key and value of every entry; a part of a list is named by its type, not its number.

    Args:
        value: a config, or a part of one.
        left_out: names of entries that do not count, at any depth.
        place: key of the value itself.
    """
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            if name not in left_out:
                yield from flat(item, left_out, f'{place}.{name}' if place else name)
    elif isinstance(value, (list, tuple)) and value and all(isinstance(v, Mapping) for v in value):
        seen: Counter[str] = Counter()
        for item in value:
            kind = str(item.get('type', 'item'))
            seen[kind] += 1
            number = f'#{seen[kind]}' if seen[kind] > 1 else ''
            yield from flat(item, left_out, f'{place}.{kind}{number}')
    else:
        yield place, value
