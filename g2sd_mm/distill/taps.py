"""Listen to a network: record what named modules put out, only while asked to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from timm.models.vision_transformer import Attention as TimmAttention
from torch import Tensor, nn

from ..engine.tensors import tensors_in
from ..errors import ConfigError
from ..models.vit import Attention

#: What a path may ask of a module behind a colon, in the place of its output.
_PARTS = ('input', 'q', 'k', 'v', 'scores')


class Taps:
    """Records the outputs of modules, found by dotted name, during a ``with taps.record()``.

    A module called once gives its output as it is; one called several times (a head that is shared
    by the levels of a pyramid) gives the list of its outputs in call order. Nothing is kept after
    the ``with`` block but what the caller holds: no buffers, no activations in checkpoints.

    Args:
        model: the network to listen to.
        modules: tap name -> dotted module name, or several of them, whose records are one list.
            ``blocks.-1`` is the last of the blocks, and ``blocks.*.attn.qkv`` the list of what all
            of them put out. Lists are in the order of the paths; a star's, in the network's.
            ``NAME:input`` is a module's first input. Of a self-attention,
            ``NAME:q``, ``:k`` and ``:v`` are queries, keys and values [B, H, N, D / H], and
            ``:scores`` is ``q k' / sqrt(D / H)`` before the softmax, [B, H, N, N]: computed anew
            from what ``qkv`` put out, so that the network itself stays on its fused kernel.

    Raises:
        ValueError: for a module that the network does not have; the message lists what stands at
            the place where the name leaves the network.
        ConfigError: for parts of a module that has none, or whose scores are more than ``q k'``.
    """

    def __init__(self, model: nn.Module, modules: Mapping[str, str | Sequence[str]]) -> None:
        self._records: dict[int, list[Any]] | None = None  # by the place of what is listened to
        self._trained = False
        self.paths = {
            tap: (path,) if isinstance(path, str) else tuple(path) for tap, path in modules.items()
        }
        # a path may stand in a list twice, so that its number in the list counts
        heard = [
            (tap, number, module)
            for tap, paths in self.paths.items()
            for number, path in enumerate(paths)
            for module in _find(model, path.partition(':')[0])
        ]
        self._places = [(tap, number) for tap, number, _ in heard]
        self._handles = [
            self._listen(place, tap, self.paths[tap][number], module)
            for place, (tap, number, module) in enumerate(heard)
        ]

    def _listen(self, place: int, tap: str, path: str, module: Any) -> Any:
        part = path.partition(':')[2]
        if part and part not in _PARTS:
            raise ConfigError(f'tap {tap!r}: {path!r} ends with none of :{", :".join(_PARTS)}')
        heard = module.qkv if part in _PARTS[1:] and _is_plain(tap, path, module) else module

        def hear(value: Any) -> None:
            if self._records is None:
                return
            if self._trained and not torch.is_grad_enabled():
                raise ConfigError(
                    f'tap {tap!r}: {path!r} lies inside of a checkpointed block, where the '
                    'forward pass has no gradients: tap the block itself, or set with_cp=False'
                )
            value = value if heard is module else attention_part(module, value, part)
            self._records.setdefault(place, []).append((value, _versions(value)))

        if part == 'input':  # before the module can write into it
            return module.register_forward_pre_hook(lambda _, args: hear(args[0]))
        return heard.register_forward_hook(lambda _, args, output: hear(output))

    @contextmanager
    def record(self, trained: bool = False) -> Iterator[dict[str, Any]]:
        """Yields a dict that is filled, tap by tap, when the block ends.

        Args:
            trained: what is heard trains the network, so it has to have gradients where they are
                switched on.

        Raises:
            RuntimeError: if a tapped module was not called in the block.
            ConfigError: if a record is not what the module put out any more, since a later module
                wrote into it; or if gradients do not reach it.
        """
        seen: dict[str, Any] = {}
        self._records, self._trained = {}, trained and torch.is_grad_enabled()
        try:
            yield seen
            records = self._records
        finally:
            self._records = None
        outputs: dict[tuple[str, int], list[Any]] = {place: [] for place in self._places}
        for place, (tap, number) in enumerate(self._places):
            for value, versions in records.get(place, ()):
                if _versions(value) != versions:
                    raise ConfigError(
                        f'tap {tap!r}: what was heard at {self.paths[tap][number]!r} was '
                        'overwritten later (as an activation with inplace=True does): tap the '
                        'module that wrote it, or set inplace=False'
                    )
                outputs[tap, number].append(value)
        for tap, paths in self.paths.items():
            values: list[Any] = []
            for number, path in enumerate(paths):
                if not outputs[tap, number]:
                    raise RuntimeError(
                        f'tap {tap!r}: module {path!r} was not called in this forward pass; tap a '
                        'module that runs in training, or list it in the teacher\'s "forward"'
                    )
                values += outputs[tap, number]
            single = len(values) == 1 and len(paths) == 1 and '*' not in paths[0]
            seen[tap] = values[0] if single else values

    def __iter__(self) -> Iterator[str]:
        """Names of the taps."""
        return iter(self.paths)

    def __len__(self) -> int:
        return len(self.paths)

    def remove(self) -> None:
        """Stop listening for good."""
        for handle in self._handles:
            handle.remove()


def side_of(taps: Mapping[str, Any], side: str) -> dict[str, Any]:
    """The modules to listen to on one side; a tap may exist on one side only."""
    modules = {
        tap: path.get(side) if isinstance(path, Mapping) else path for tap, path in taps.items()
    }
    return {tap: path for tap, path in modules.items() if path is not None}


def attention_part(attention: Any, qkv: Tensor, part: str) -> Tensor:
    """Queries, keys, values or scores of an attention whose projection gave ``qkv``.

    Args:
        attention: with ``num_heads`` and, in timm, norms of queries and keys.
        qkv: [B, N, 3 D].
        part: ``q``, ``k``, ``v`` [B, H, N, D / H], or ``scores`` [B, H, N, N].
    """
    heads = qkv.unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
    q, k, v = heads.unbind(0)
    if part == 'v':
        return v
    q, k = (
        getattr(attention, f'{name}_norm', nn.Identity())(x) for name, x in (('q', q), ('k', k))
    )
    if part != 'scores':
        return q if part == 'q' else k
    return (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)


def _versions(value: Any) -> list[int]:
    """How often each tensor was written into, which torch counts."""
    return [tensor._version for tensor in tensors_in(value) if not tensor.is_inference()]


def _is_plain(tap: str, path: str, module: Any) -> bool:
    """Whether queries and keys alone decide what an attention's tokens look at; else an error."""
    ours = isinstance(module, Attention) and type(module).attend is Attention.attend
    if not (ours or type(module) is TimmAttention) or not hasattr(module, 'qkv'):
        raise ConfigError(
            f'tap {tap!r}: {path!r} is a {type(module).__name__}, and queries, keys, values and '
            'scores are heard of a plain self-attention alone (blocks.N.attn), without relative '
            'positions or rotation'
        )
    return True


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
