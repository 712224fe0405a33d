"""Hypothesis's examples of a strategy as a plain list, always the same."""

from __future__ import annotations

from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

Value = TypeVar('Value')

#: Any value that JSON has, odd numbers and texts among them.
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from([-1, 0, 10**30, 2**63, -(2**31), 1e308, '', '../x', '\0', '/dev/zero']),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=6,
)  # fmt: skip


def examples(strategy: st.SearchStrategy[Value], number: int) -> list[Value]:
    """At most ``number`` examples; they are drawn and not run, so nothing is shrunk."""
    drawn: list[Value] = []

    @settings(
        max_examples=number,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def draw(value: Value) -> None:
        drawn.append(value)

    draw()
    return drawn


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """Paths of everything inside of nested dicts and lists, themselves included."""
    found = [path]
    items = value.items() if isinstance(value, dict) else ()
    items = enumerate(value) if isinstance(value, list) else items
    for key, item in items:
        found += places(item, (*path, key))
    return found


def replaced(content: Any, path: tuple, value: Any) -> Any:
    """A copy of ``content`` with another value in one place."""
    if not path:
        return value
    copied = dict(content) if isinstance(content, dict) else list(content)
    copied[path[0]] = replaced(content[path[0]], path[1:], value)
    return copied


def nearly(content: Any, number: int) -> list[tuple[str, Any]]:
    """Copies of a JSON document with one or two places replaced by anything."""
    spots = places(content)
    change = st.tuples(st.sampled_from(spots), JSON)
    changed = []
    for changes in examples(st.lists(change, min_size=1, max_size=2), number):
        other, name = content, []
        for path, value in changes:
            try:
                other = replaced(other, path, value)
            except (KeyError, IndexError, TypeError):
                continue  # the place is gone
            name.append(f'{"/".join(map(str, path)) or "all of it"} = {value!r:.40}')
        changed.append(('; '.join(name), other))
    return changed
