"""What the pixels of masks stand for: class numbers, colours, or 255 for the object."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..image_files import spread
from ..text import some
from .choices import Choices
from .mask_pixels import (
    colours_of,
    hex_of,
    is_grey,
    palette_at,
    palette_of,
    palette_rows,
    pixels_of,
)
from .names import Colour, Names

_IGNORED = 255
_MOST_COLOURS = 255
_SAMPLE = 24  # masks that decide how all are read
_TWO = ('background', 'object')
_BLACK = (0, 0, 0)
#: Grey levels: their numbers leave out most of those below the largest.
_SPARSE, _HIGH = 3, 30

_MEANINGS = {
    'numbers': 'class numbers, 255 ignored',
    'colours': 'grey levels, one class each',
    'binary': '255 for the object and 0 for background',
}


@dataclass(frozen=True)
class MaskReading:
    """How the masks of a folder become class numbers.

    how: ``numbers`` (as they are), ``binary`` (255 becomes 1) or ``colours``.
    table: colour -> class number, except of numbers; of grey levels three times the level.
    names: of the classes, by number; empty where nothing says them.
    rewritten: whether files are written anew.
    """

    how: str
    table: dict[Colour, int] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    rewritten: bool = False

    def lines(self) -> list[str]:
        """The table, a line for each colour."""
        if self.how == 'binary':
            return ['masks of 0 and 255: 0 is ' + ', 255 is '.join(self.names)]
        shown = []
        for colour, number in self.table.items():
            name = 'ignored' if number == _IGNORED else self.names[number]
            shown.append(f'mask colour {hex_of(colour)} -> {number} {name}')
        return shown

    def numbers(self, file: Path) -> np.ndarray:
        """Class numbers of a mask, uint8 [height, width].

        Raises:
            DataError: for a file that cannot be read, colours where numbers are read, or a value
                that is not in the table.
        """
        if self.how == 'numbers':
            return _grey(file)
        shown, places = colours_of(file)
        if self.how == 'binary':
            values, places = np.unique(_grey(file), return_inverse=True)
            shown = [(None, (value, value, value)) for value in values.tolist()]
        new = []
        for own, colour in shown:
            if colour in self.table:
                new.append(self.table[colour])
            elif colour is None or own == _IGNORED:  # of a palette; no class has its colour
                new.append(_IGNORED)
            else:
                raise DataError(f'{file} has {self._beside_all(colour)}')
        return np.array(new, np.uint8)[places]

    def _beside_all(self, colour: Colour) -> str:
        """What a colour is that is not in the table."""
        if self.how == 'binary' and colour[0] == 1:  # the object too, where people say so
            return f'1, and other masks 0 and 255: read all {_ask("numbers", "binary")}'
        if self.how == 'binary':
            return (
                f'{colour[0]}, and other masks 0 and 255: write 0 or 255 in its place, or read all '
                f'{_ask("colours")}'
            )
        shown = some([hex_of(c) for c in self.table], 6)
        return f'the colour {hex_of(colour)}, which no class has: there are {shown}'


def _ask(*answers: str) -> str:
    return ' or '.join(f'as {_MEANINGS[a]} (--read-as masks={a})' for a in answers)


def choose_reading(
    files: Sequence[Path],
    names: Names | None,
    choices: Choices,
    where: Path,
    documented: bool = False,
) -> MaskReading:
    """How all masks of a folder are read: a sample decides, and all give their colours.

    The sample goes on until a mask shows more than 0: objects may be rare.

    Args:
        files: the masks.
        names: of the classes, and of colours, where a file beside the data has them.
        choices: ``masks`` decides where numbers can be read in two ways.
        where: the folder, for messages.
        documented: whether the folders are called as the documentation asks for class numbers.

    Raises:
        DataError: for masks that cannot be read, or can be read in two ways.
    """
    looks = _sample(files)
    given = names.by_number if names else ()
    asked = choices.answer('masks', _MEANINGS, where) if choices.told('masks') else ''
    how = asked or _evident(looks, files, names)
    if how == 'colours':
        return _colours(files, looks, names, where)
    values = frozenset().union(*(look.values for look in looks))
    if not how and not documented and (ways := _doubtful(looks, values, bool(given))):
        choices.answer(
            'masks', {name: _MEANINGS[name] for name in ways},
            f'{where} has masks of {some([str(v) for v in sorted(values)], 6)}, which',
        )  # fmt: skip
    if how == 'binary' or (not how and _IGNORED in values and values <= {0, _IGNORED}):
        fits = names and (not names.colours or (_BLACK, given[0]) in names.colours)
        two = given if fits and len(given) == 2 else _TWO
        table = {_BLACK: 0, (255, 255, 255): 1} | ({(1, 1, 1): 1} if asked else {})
        return MaskReading('binary', table, two, True)
    high = max(values - {_IGNORED}, default=0)
    if given and high >= len(given):
        raise DataError(
            f'{where} has the class {high} in its masks, and {names.file if names else ""} names '
            f'{len(given)}, 0 to {len(given) - 1}'
        )
    return MaskReading('numbers', {}, given, any(look.kind == 'grey' for look in looks))


def _evident(looks: Sequence[_Look], files: Sequence[Path], names: Names | None) -> str:
    """How masks are read whose files leave no doubt; else nothing."""
    if any(look.kind == 'colour' for look in looks):
        return 'colours'
    if any(look.palette for look in looks) and _own_palettes(files):
        return 'colours'
    return _as_listed(looks, names) if names and names.colours else ''


def _as_listed(looks: Iterable[_Look], names: Names) -> str:
    """``colours`` if those that a file lists give other classes than numbers do.

    ``numbers`` if they give the same, and nothing if the masks show other ones. Greys may well be
    numbers, of which 0 is black by chance, so all of them have to be listed.
    """
    number = {name: i for i, name in enumerate(names.by_number)}
    listed: dict[Colour, set[int]] = {}
    for colour, name in names.colours:
        listed.setdefault(colour, set()).add(number.get(name, _IGNORED))
    shown = {
        (value, colour)
        for look in looks
        for value, colour in look.classes
        if not look.palette or value != _IGNORED or colour in listed
    }
    known = [(value, listed[colour]) for value, colour in shown if colour in listed]
    greys = all(len(set(colour)) == 1 for _, colour in shown)
    if not known or (greys and len(known) < len(shown)):
        return ''
    return 'numbers' if all(value in classes for value, classes in known) else 'colours'


def _doubtful(looks: Iterable[_Look], values: frozenset[int], named: bool) -> tuple[str, ...]:
    """Ways to read masks of one channel that do not say it themselves."""
    both = {1, _IGNORED}
    if values == both | {0} and not any(both <= look.values for look in looks):
        return 'numbers', 'binary'
    high = max(values - {_IGNORED}, default=0)
    sparse = high > _HIGH and high > _SPARSE * len(values)
    return ('numbers', 'colours') if sparse and not named else ()


@dataclass(frozen=True)
class _Look:
    """What a mask shows: ``number``, ``grey`` (three equal channels) or ``colour``.

    palette: colours of the numbers that occur; none of a file without a palette.
    """

    kind: str
    values: frozenset[int] = frozenset()
    palette: Mapping[int, Colour] = field(default_factory=dict)

    @classmethod
    def at(cls, file: Path) -> _Look:
        pixels = pixels_of(file)
        if pixels.ndim == 2:
            values = frozenset(np.unique(pixels).tolist())
            return cls('number', values, palette_at(file, values))
        if is_grey(pixels):
            return cls('grey', frozenset(np.unique(pixels[..., 0]).tolist()))
        return cls('colour')

    @property
    def classes(self) -> Iterable[tuple[int, Colour]]:
        """Numbers with their colours; three times the level without a palette."""
        return self.palette.items() or [(value, (value, value, value)) for value in self.values]

    @property
    def shows_object(self) -> bool:
        """Whether there is more than background."""
        return self.kind == 'colour' or bool(self.values - {0})


def _sample(files: Sequence[Path]) -> list[_Look]:
    looks: list[_Look] = []
    seen = False
    for file in spread(files, _SAMPLE):
        if seen and len(looks) >= _SAMPLE:
            break
        looks.append(_Look.at(file))
        seen = seen or looks[-1].shows_object
    return looks


def _own_palettes(files: Iterable[Path]) -> bool:
    """Whether a number that masks show has several colours: then they do not share one palette.

    The headers of all files are read, and where palettes differ in a number the files: it counts
    only in those that show it.
    """
    palettes = {file: palette_of(file) for file in files}
    colours: dict[int, set[Colour]] = {}
    for palette in set(palettes.values()):
        for number, colour in palette_rows(palette).items():
            colours.setdefault(number, set()).add(colour)
    several = {number for number, found in colours.items() if len(found) > 1} - {_IGNORED}
    seen: dict[int, Colour] = {}
    for file, palette in palettes.items() if several else ():
        rows = palette_rows(palette)
        shown = several.intersection(rows, np.unique(pixels_of(file)).tolist())
        if any(seen.setdefault(number, rows[number]) != rows[number] for number in shown):
            return True
    return False


def _grey(file: Path) -> np.ndarray:
    pixels = pixels_of(file)
    if not is_grey(pixels):
        raise DataError(
            f'{file} has colours, and numbers are read: write its class numbers, or read all masks '
            'as colours, one class each (--read-as masks=colours)'
        )
    return pixels if pixels.ndim == 2 else pixels[..., 0]


def _colours(
    files: Iterable[Path], looks: Iterable[_Look], names: Names | None, where: Path
) -> MaskReading:
    """Colours by the list beside the data, else those that occur, black first.

    Raises:
        DataError: for more colours than there are classes, and for names that no colours are
            given for: their order would be a guess.
    """
    if names and names.colours:
        number = {name: i for i, name in enumerate(names.by_number)}
        table = {colour: number.get(name, _IGNORED) for colour, name in names.by_colour.items()}
        return MaskReading('colours', table, names.by_number, True)
    found: set[Colour] = set()
    for file in files:
        found.update(colour for _, colour in colours_of(file)[0] if colour)
        if len(found) > _MOST_COLOURS:
            raise DataError(
                f'{where} has masks of more than {_MOST_COLOURS} colours, with {file}: edges were '
                'blended or compressed; write one colour for each class'
            )
    colours = sorted(found)
    if names:
        plain = all(look.kind == 'number' for look in looks)
        other = ', or read them as class numbers (--read-as masks=numbers)' if plain else ''
        raise DataError(
            f'{where} has masks of the colours {some([hex_of(c) for c in colours], 6)}, and '
            f'{names.file} does not say which class has which: write them into labelmap.txt '
            f'(name:red,green,blue:: on a line) or class_dict.csv (name,r,g,b) in its place{other}'
        )
    table = {colour: number for number, colour in enumerate(colours)}
    return MaskReading('colours', table, tuple(map(hex_of, colours)), True)
