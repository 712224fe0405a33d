"""Listen to a network: record what named modules put out, only while asked to."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from timm.models.vision_transformer import Attention as TimmAttention
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from ..engine.tensors import tensors_in
from ..errors import ConfigError
from ..models.vit import Attention, by_head

_OF_ATTENTION = ('q', 'k', 'v', 'scores')
#: What a path may ask of a module behind a colon, in the place of its output.
_PARTS = ('input', *_OF_ATTENTION)


@dataclass(eq=False)
class _Place:
    """A module that is listened to.

    tap, path: its tap, and the path that names it.
    part: what stands behind the path's colon, if anything.
    heard: in a record, what was heard, how often its tensors had been written into by then, and
        whether autocast was on.
    """

    tap: str
    path: str
    module: Any
    part: str
    heard: list[tuple[Any, list[int], bool]] = field(default_factory=list)

    def values(self) -> list[Any]:
        """What was asked for, in call order; parts of attention are computed here.

        Outside of the network's pass: what a block does in it, a checkpointed one does again in the
        backward pass, when nobody listens.
        """
        for value, versions, _ in self.heard:
            if _versions(value) != versions:
                raise ConfigError(
                    f'tap {self.tap!r}: what was heard at {self.path!r} was overwritten later (as '
                    'an activation with inplace=True does): tap the module that wrote it, or set '
                    'inplace=False'
                )
        return [self._asked(value, mixed) for value, _, mixed in self.heard]

    def _asked(self, value: Any, mixed: bool) -> Any:
        if self.part not in _OF_ATTENTION:
            return value
        with torch.autocast(value.device.type, enabled=mixed):  # a teacher's pass has none
            return attention_part(self.module, value, self.part)


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
            from what ``qkv`` put out, so that the network itself stays on its fused kernel, and
            after its pass, so that a checkpointed block does the same in both of its passes.

    Raises:
        ValueError: for a module that the network does not have; the message lists what stands at
            the place where the name leaves the network.
        ConfigError: for parts of a module that has none, or whose scores are more than ``q k'``.
    """

    def __init__(self, model: nn.Module, modules: Mapping[str, str | Sequence[str]]) -> None:
        self._listening = self._trained = False
        self.paths = {
            tap: (path,) if isinstance(path, str) else tuple(path) for tap, path in modules.items()
        }
        #: Tap -> for each of its paths the modules that it names.
        self._places = {
            tap: [
                [_Place(tap, path, module, _part(tap, path, module))
                 for module in find_modules(model, path.partition(':')[0])]
                for path in paths
            ]
            for tap, paths in self.paths.items()
        }  # fmt: skip
        self._handles = [self._listen(place) for place in self._all()]  # all paths are right

    def _all(self) -> Iterator[_Place]:
        for paths in self._places.values():
            yield from itertools.chain(*paths)

    def __deepcopy__(self, memo: dict[int, Any]) -> Taps:
        """Itself: the hooks in a copy of the network are those of this one."""
        return self

    def _listen(self, place: _Place) -> Any:
        module = place.module
        if place.part != 'input':

            def hear_output(_: nn.Module, args: Any, output: Any) -> None:
                if self._listening:
                    self._hear(place, output)

            return (module.qkv if place.part else module).register_forward_hook(hear_output)
        name = next(iter(inspect.signature(module.forward).parameters), '')

        def hear_input(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if self._listening:
                if not args and name not in kwargs:
                    raise ConfigError(
                        f'tap {place.tap!r}: {place.path!r}: the module is called without its '
                        f'first argument {name!r}: tap the output of a module before it'
                    )
                self._hear(place, args[0] if args else kwargs[name])

        # before the module can write into it
        return module.register_forward_pre_hook(hear_input, with_kwargs=True)

    @torch.compiler.disable  # compiled code would count wrongly how often tensors were written into
    def _hear(self, place: _Place, value: Any) -> None:
        if self._trained and not torch.is_grad_enabled():
            raise ConfigError(
                f'tap {place.tap!r}: {place.path!r} lies inside of a checkpointed block, where the '
                'forward pass has no gradients: tap the block itself, or set with_cp=False'
            )
        # lists and dicts as they are now: their owner may put something else into them
        tensors = list(tensors_in(value))
        mixed = bool(tensors) and torch.is_autocast_enabled(tensors[0].device.type)
        place.heard.append((tree_map(lambda part: part, value), _versions(value), mixed))

    @contextmanager
    def record(self, trained: bool = False) -> Iterator[dict[str, Any]]:
        """Yields a dict that is filled, tap by tap, when the block ends.

        Args:
            trained: what is heard trains the network, so that modules have to run with gradients
                where they are switched on.

        Raises:
            RuntimeError: if a tapped module was not called in the block.
            ConfigError: if a record is not what the module put out any more, since a later module
                wrote into it; or if gradients do not reach it through a checkpointed block.
        """
        seen: dict[str, Any] = {}
        self._listening, self._trained = True, trained and torch.is_grad_enabled()
        try:
            yield seen
            self._listening = False  # parts of attention are computed with modules of the network
            for tap, paths in self._places.items():
                together: list[Any] = []
                for path, places in zip(self.paths[tap], paths, strict=True):
                    heard = [value for place in places for value in place.values()]
                    if not heard:
                        raise RuntimeError(
                            f'tap {tap!r}: module {path!r} was not called in this forward pass; '
                            'tap a module that runs in training, or list it in the teacher\'s '
                            '"forward"'
                        )
                    together += heard
                single = len(together) == 1 and len(paths) == 1 and '*' not in path
                seen[tap] = together[0] if single else together
        finally:
            self._listening = False
            for place in self._all():
                place.heard.clear()

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
    q, k, v = by_head(qkv, 3, attention.num_heads)
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


def _part(tap: str, path: str, module: Any) -> str:
    """What of a module a path asks for; empty for its output.

    Of an attention only where queries and keys alone decide what its tokens look at.
    """
    part = path.partition(':')[2]
    if part and part not in _PARTS:
        raise ConfigError(f'tap {tap!r}: {path!r} ends with none of :{", :".join(_PARTS)}')
    ours = isinstance(module, Attention) and type(module).attend is Attention.attend
    plain = (ours or type(module) is TimmAttention) and hasattr(module, 'qkv')
    if part in _OF_ATTENTION and not plain:
        raise ConfigError(
            f'tap {tap!r}: {path!r} is a {type(module).__name__}, and queries, keys, values and '
            'scores are heard of a plain self-attention alone (blocks.N.attn), without relative '
            'positions or rotation'
        )
    return part


def find_modules(model: nn.Module, path: str) -> list[nn.Module]:
    """What a path of :class:`Taps` stands for, without a part; ValueError if that is nothing."""
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
    if part == '*':
        return list(module.children())
    if part.startswith('-') and part[1:].isdecimal() and int(part):
        # one that stands in several places counts in each of them
        children = [child for child in module._modules.values() if child is not None]
        return [children[int(part)]] if int(part[1:]) <= len(children) else []
    child = getattr(module, part, None)
    return [child] if isinstance(child, nn.Module) else []
