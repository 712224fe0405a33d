"""A config as dotted keys and values, as a person wrote them: to compare two of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any


def as_written(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """A config with student and distillation apart again, which ``distill_config`` makes one model
    of, and the preprocessor beside the model, wherever it stands: a distilled run and a plain one
    would have no entry in common."""
    model, apart = dict(cfg.get('model') or {}), {}
    if model.get('type') == 'SpecificDistiller':
        block, model = model, dict(model['student'])
        apart['distillation'] = {k: v for k, v in block.items() if k not in ('type', 'student')}
        model.pop('_scope_', None)
    if 'data_preprocessor' in model:
        apart['data_preprocessor'] = model.pop('data_preprocessor')
    return {**cfg, **apart, 'model': model}


def flat(
    value: Any, left_out: Collection[str] = (), place: str = ''
) -> Iterator[tuple[str, Any]]:
    """Dotted key and value of every entry, without some names at any depth.

    A part in a list is named by its type, not by its number. ``place`` is the value's own key.
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
