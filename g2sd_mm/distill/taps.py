"""Listen to a network: record what named modules put out, only while asked to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn


class Taps:
    """Records the outputs of modules, found by dotted name, during a ``with taps.record()``.

    A module called once gives its output as it is; one called several times (a head that is shared
    by the levels of a pyramid) gives the list of its outputs in call order. Nothing is kept after
    the ``with`` block but what the caller holds: no buffers, no activations in checkpoints.

    Args:
        model: the network to listen to.
        modules: tap name -> dotted module name. ``blocks.-1`` is the last of the blocks, and
            ``blocks.*.attn.qkv`` the list of what all of them put out.

    Raises:
        ValueError: for a module that the network does not have; the message lists what stands at
            the place where the name leaves the network.
    """

    def __init__(self, model: nn.Module, modules: Mapping[str, str]) -> None:
        self._records: dict[str, list[Any]] | None = None
        self._handles = [
            module.register_forward_hook(self._recorder(tap))
            for tap, path in modules.items()
            for module in _find(model, path)
        ]
        self._paths = dict(modules)

    def _recorder(self, tap: str) -> Any:
        def hook(module: nn.Module, args: tuple, output: Any) -> None:
            if self._records is not None:
                self._records.setdefault(tap, []).append(output)

        return hook

    @contextmanager
    def record(self) -> Iterator[dict[str, Any]]:
        """Yields a dict that is filled, tap by tap, when the block ends.

        Raises:
            RuntimeError: if a tapped module was not called in the block.
        """
        seen: dict[str, Any] = {}
        self._records = {}
        try:
            yield seen
            records = self._records
        finally:
            self._records = None
        for tap, path in self._paths.items():
            if tap not in records:
                raise RuntimeError(
                    f'tap {tap!r}: module {path!r} was not called in this forward pass; tap a '
                    'module that runs in training, or list it in the teacher\'s "forward"'
                )
            outputs = records[tap]
            single = len(outputs) == 1 and '*' not in path
            seen[tap] = outputs[0] if single else outputs

    def __iter__(self) -> Iterator[str]:
        """Names of the taps."""
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def remove(self) -> None:
        """Stop listening for good."""
        for handle in self._handles:
            handle.remove()


def _find(model: nn.Module, path: str) -> list[nn.Module]:
    parts, found = path.split('.'), [model]
    for i, part in enumerate(parts):
        inside = [child for module in found for child in _children(module, part)]
        if not inside:
            where = '.'.join(parts[:i]) or type(model).__name__
            names = ', '.join(name for name, _ in found[0].named_children()) or 'nothing'
            raise ValueError(f'no module {path!r} to tap: {where} has {names}')
        found = inside
    return found


def _children(module: nn.Module, part: str) -> list[nn.Module]:
    children = list(module.children())
    if part == '*':
        return children
    if part.startswith('-') and part[1:].isdecimal() and int(part):
        return [children[int(part)]] if int(part[1:]) <= len(children) else []
    child = getattr(module, part, None)
    return [child] if isinstance(child, nn.Module) else []
