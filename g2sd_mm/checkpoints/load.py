"""Put weights into a module and account for every name: nothing is left out in silence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatch

from torch import Tensor, nn

from ..compat.safe_load import CheckpointError
from .identify import describe
from .read import Weights


def load_verified(
    module: nn.Module,
    state: Mapping[str, Tensor],
    weights: Weights,
    *,
    purpose: str,
    may_miss: Iterable[str] = (),
    may_ignore: Iterable[str] = (),
    advice: str = '',
) -> None:
    """Load ``state`` into ``module`` unless a name or shape is off.

    Args:
        module: gets the tensors; its dtype and device stay.
        state: tensors under the module's own names.
        weights: the file that ``state`` was taken from, for the message.
        purpose: what the module is for, e.g. ``'stage-1 teacher'``.
        may_miss: patterns (``fnmatch``) of the module's names that the file need not have.
        may_ignore: patterns of the file's names that the module need not have.
        advice: what the reader should do instead; ends the message.

    Raises:
        CheckpointError: naming the file, what it is, and the first names that are off.
    """
    own = module.state_dict()
    missing = [n for n in own if n not in state and not _matches(n, may_miss)]
    extra = [n for n in state if n not in own and not _matches(n, may_ignore)]
    wrong = [
        f'{n} is {_shape(state[n])}, expected {_shape(own[n])}'
        for n in own
        if n in state and state[n].shape != own[n].shape
    ]
    problems = []
    if wrong:
        problems.append(f'{len(wrong)} of another size ({_some(wrong)})')
    if missing:
        problems.append(f'{len(missing)} missing ({_some(missing)})')
    if extra:
        problems.append(f'{len(extra)} unknown ({_some(extra)})')
    if problems:
        raise CheckpointError(
            f'{weights.name} cannot serve as {purpose}: it is {describe(weights.state)}; '
            f'parameters: {", ".join(problems)}.' + (f' {advice}' if advice else '')
        )
    module.load_state_dict({n: t for n, t in state.items() if n in own}, strict=False)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def _some(items: list[str], most: int = 3) -> str:
    return ', '.join(items[:most]) + (', ...' if len(items) > most else '')


def _shape(tensor: Tensor) -> str:
    return 'x'.join(map(str, tensor.shape)) or 'scalar'
