"""The rows of a table as a report shows them: their order and their colours."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

#: From what knows nothing to the teacher.
ORDER = ('scratch', 'mae_student', 'single_stage', 'g2sd_nosd', 'g2sd', 'teacher')

# of middling lightness: they stand out on white and on black
_COLOURS = {
    'teacher': '#4c86c6',
    'g2sd': '#e4572e',
    'g2sd_nosd': '#e8a33d',
    'single_stage': '#5aa469',
    'mae_student': '#b07cc6',
    'scratch': '#8d8d8d',
}
_PLAIN = 'vits'  # the student whose colours are not tinted
_OTHERS = ('#3aa6a6', '#c65b8f', '#8a9a3b', '#7a6ff0')

def colour(name: str) -> str:
    """A method's colour, the same in every picture; names that are no method get one too.

    Of ``g2sd vitt``, where there are several students, a tint of its method's.
    """
    method, _, student = name.partition(' ')
    base = _COLOURS.get(method) or _OTHERS[sum(method.encode()) % len(_OTHERS)]
    return _tint(base) if student not in ('', _PLAIN) else base


def _tint(colour: str) -> str:
    """``#rrggbb``, halfway to white."""
    channels = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return '#' + ''.join(f'{(channel + 255) // 2:02x}' for channel in channels)


def ordered(names: Iterable[str]) -> list[str]:
    """Names in the order of :data:`ORDER`, others behind, each once."""
    return sorted(dict.fromkeys(names), key=_place)


def _place(name: str) -> int:
    method = name.partition(' ')[0]
    return ORDER.index(method) if method in ORDER else len(ORDER)


def own_claims(names: Iterable[str]) -> list[tuple[str, str]]:
    """(ahead, behind) of rows that a reader added, those that are no method of a suite.

    What one's own idea has to beat: G2SD, and G2SD without stage 2.
    """
    own = [name for name in dict.fromkeys(names) if name not in ORDER]
    return list(product(own, ('g2sd', 'g2sd_nosd')))
