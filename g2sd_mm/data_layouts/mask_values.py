"""What the pixels of masks stand for: class numbers, colours, or 255 for the object."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import DataError
from ..image_files import spread
from ..text import some
from .choices import Choices
from .names import Colour, Names

_IGNORED = 255
_MOST_COLOURS = 255
_SAMPLE = 24  # masks that decide how all are read
#: Grey levels: their numbers leave out most of those below the largest.
_SPARSE, _HIGH = 3, 30

_MEANINGS = {
    'numbers': 'class numbers, of which most do not occur',
    'colours': 'grey levels, one class each',
    'binary': '255 for the object and 0 for background',
}


class UnreadableMask(DataError):
    """A file that holds no numbers or colours of classes, whatever the others hold."""


@dataclass(frozen=True)
class MaskReading:
    """How the masks of a folder become class numbers.

    how: ``numbers`` (as they are), ``binary`` (255 becomes 1) or ``colours``.
    table: colour -> class number; of grey levels three times the level.
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
        if self.how == 'binary':
            grey = _grey(file)
            if others := set(np.unique(grey).tolist()) - {0, 1, _IGNORED}:
                raise DataError(
                    f'{file} has {min(others)} beside 0 and 255: {_ask("binary", "numbers")}'
                )
            return (grey > 0).astype(np.uint8)
        packed = _packed(_as_colours(file))
        values, inverse = np.unique(packed, return_inverse=True)
        known = {_pack(colour): number for colour, number in self.table.items()}
        if strange := [v for v in values.tolist() if v not in known]:
            raise DataError(
                f'{file} has the colour {hex_of(_unpack(strange[0]))}, which no class has: '
                f'there are {some([hex_of(c) for c in self.table], 6)}'
            )
        new = np.array([known[value] for value in values.tolist()], np.uint8)
        return new[inverse].reshape(packed.shape)


def _ask(*answers: str) -> str:
    return ' or '.join(f'as {_MEANINGS[a]} (--read-as masks={a})' for a in answers)


def hex_of(colour: Colour) -> str:
    """``#rrggbb``."""
    return '#' + ''.join(f'{channel:02x}' for channel in colour)


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
    kinds = {look.kind for look in looks}
    given = names.by_number if names else ()
    asked = choices.read_as.get('masks')
    if asked and asked not in _MEANINGS:
        choices.answer('masks', _MEANINGS, where)
    coloured = 'colour' in kinds or _own_palettes(looks)
    if asked == 'colours' or (not asked and coloured):
        return _colours(files, names, where)
    values = set().union(*(look.values for look in looks))
    if asked == 'binary' or (not asked and _IGNORED in values and values <= {0, _IGNORED}):
        two = given if len(given) == 2 else ('background', 'object')
        return MaskReading('binary', {}, two, True)
    high = max(values - {_IGNORED}, default=0)
    sparse = high > _HIGH and high > _SPARSE * len(values)
    if sparse and not asked and not given and not documented:
        choices.answer(
            'masks', {name: _MEANINGS[name] for name in ('numbers', 'colours')},
            f'{where} has masks of {some([str(v) for v in sorted(values)], 6)}, which',
        )  # fmt: skip
    if given and high >= len(given):
        raise DataError(
            f'{where} has the class {high} in its masks, and {names.file if names else ""} names '
            f'{len(given)}, 0 to {len(given) - 1}'
        )
    return MaskReading('numbers', {}, given, 'grey' in kinds)


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
            return cls('number', values, _palette(file, values))
        if _is_grey(pixels):
            return cls('grey', frozenset(np.unique(pixels[..., 0]).tolist()))
        return cls('colour')

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


def _own_palettes(looks: Iterable[_Look]) -> bool:
    """Whether a number has several colours: then the files do not share one palette."""
    first: dict[int, Colour] = {}
    return any(
        first.setdefault(number, colour) != colour
        for look in looks
        for number, colour in look.palette.items()
    )


def pixels_of(file: Path) -> np.ndarray:
    """uint8 [height, width], or [height, width, 3] of a colour picture; palettes stay numbers.

    Raises:
        UnreadableMask: if it cannot be read, or compression has changed its pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            with Image.open(file) as image:
                if image.format == 'JPEG':
                    raise UnreadableMask(
                        f'{file} is a JPEG, which changes pixels: write masks as PNG'
                    )
                if image.mode == '1':
                    return np.asarray(image.convert('L'))
                if image.mode in ('LA', 'RGBA', 'CMYK', 'PA'):
                    image = image.convert('L' if image.mode == 'LA' else 'RGB')
                pixels = np.asarray(image)
    except UnreadableMask:
        raise
    except Exception as error:  # damaged data can make a decoder raise anything
        raise UnreadableMask(f'{file}: cannot be read as a mask ({error})') from error
    if pixels.dtype != np.uint8:
        if pixels.dtype.kind not in 'iu' or pixels.min() < 0 or pixels.max() > _IGNORED:
            raise UnreadableMask(f'{file} has numbers beyond 0 to 255')
        pixels = pixels.astype(np.uint8)
    return pixels


def _palette(file: Path, values: Iterable[int]) -> dict[int, Colour]:
    """The colours of numbers; a palette may be cut to those that a file uses."""
    with Image.open(file) as image:
        palette = (image.getpalette() if image.mode == 'P' else None) or []
    rows = {value: palette[3 * value : 3 * value + 3] for value in values}
    return {value: (row[0], row[1], row[2]) for value, row in rows.items() if len(row) == 3}


def _as_colours(file: Path) -> np.ndarray:
    with Image.open(file) as image:
        if image.mode == 'P':
            return np.asarray(image.convert('RGB'))
    return pixels_of(file)


def _is_grey(pixels: np.ndarray) -> bool:
    return pixels.ndim == 2 or bool((pixels == pixels[..., :1]).all())


def _grey(file: Path) -> np.ndarray:
    pixels = pixels_of(file)
    if not _is_grey(pixels):
        raise DataError(
            f'{file} has colours, and numbers are read: write its class numbers, or read all masks '
            'as colours, one class each (--read-as masks=colours)'
        )
    return pixels if pixels.ndim == 2 else pixels[..., 0]


def _packed(pixels: np.ndarray) -> np.ndarray:
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    wide = pixels.astype(np.int32)
    return (wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2]


def _pack(colour: Colour) -> int:
    return (colour[0] << 16) | (colour[1] << 8) | colour[2]


def _unpack(value: int) -> Colour:
    return value >> 16, (value >> 8) & 255, value & 255


def _colours(files: Iterable[Path], names: Names | None, where: Path) -> MaskReading:
    """Colours by the list beside the data, else those that occur, black first.

    Raises:
        DataError: for more colours than there are classes, and for names that no colours are
            given for: their order would be a guess.
    """
    found: Counter[int] = Counter()
    if names and names.colours:
        number = {name: i for i, name in enumerate(names.by_number)}
        table = {colour: number.get(name, _IGNORED) for colour, name in names.colours.items()}
        return MaskReading('colours', table, names.by_number, True)
    for file in files:
        found.update(np.unique(_packed(_as_colours(file))).tolist())
        if len(found) > _MOST_COLOURS:
            raise DataError(
                f'{where} has masks of more than {_MOST_COLOURS} colours, with {file}: edges were '
                'blended or compressed; write one colour for each class'
            )
    ordered = sorted(found)
    colours = [_unpack(value) for value in ordered]
    if names:
        raise DataError(
            f'{where} has masks of the colours {some([hex_of(c) for c in colours], 6)}, and '
            f'{names.file} does not say which class has which: write them into labelmap.txt '
            '(name:red,green,blue:: on a line) or class_dict.csv (name,r,g,b) in its place'
        )
    table = {colour: number for number, colour in enumerate(colours)}
    return MaskReading('colours', table, tuple(map(hex_of, colours)), True)
