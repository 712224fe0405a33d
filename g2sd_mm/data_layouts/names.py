"""Class names wherever people leave them beside their data."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..text import printable, some

Colour = tuple[int, int, int]

#: Files that may have names, what tells most first.
_FILES = (
    'labelmap.txt', 'class_dict.csv', '_classes.csv', 'palette.json', 'classes.json',
    'labels.json', 'data.yaml', 'data.yml', 'dataset.yaml', 'classes.txt', 'labels.txt',
    'obj.names', 'names.txt', 'predefined_classes.txt',
)  # fmt: skip
_IGNORED = ('void', 'ignore', 'ignored')


@dataclass(frozen=True)
class Names:
    """Names of classes that a file gives.

    file: it.
    by_number: name of each number, without gaps.
    colours: colours and their names, where the file has colours.
    """

    file: Path
    by_number: tuple[str, ...]
    colours: tuple[tuple[Colour, str], ...] = ()

    @property
    def by_colour(self) -> dict[Colour, str]:
        """Name of each colour.

        Raises:
            DataError: if two classes have one. The names alone can still be used.
        """
        named: dict[Colour, str] = {}
        for colour, name in self.colours:
            if (other := named.setdefault(colour, name)) != name:
                raise DataError(
                    f'{self.file}: {printable(other)} and {printable(name)} both have the colour '
                    f'{",".join(map(str, colour))}: give one of them its own, or leave it out'
                )
        return named


def names_beside(root: Path) -> Names | None:
    """The names that the folder, or its folder ``train``, has in a file; None without one.

    Raises:
        DataError: if a file of such a name cannot be read so, or two of them disagree.
    """
    places = [root, *(root / name for name in ('train', 'annotations', 'labels'))]
    found = [
        names
        for place in places
        for file in _FILES
        if (place / file).is_file() and (names := read_names(place / file)) is not None
    ]
    with_colours = [names for names in found if names.colours]
    if not found:
        return None
    first = (with_colours or found)[0]
    for other in found:
        if set(other.by_number) != set(first.by_number) or (
            not first.colours and other.by_number != first.by_number
        ):
            raise DataError(
                f'{first.file} names the classes {some(first.by_number, 5)}, and {other.file} '
                f'{some(other.by_number, 5)}: leave one of the two files'
            )
    return first


def read_names(file: Path) -> Names | None:
    """Names of a file; None if it is of another kind, such as a table of images.

    Raises:
        DataError: if it cannot be read.
    """
    try:
        text = file.read_text(encoding='utf-8-sig')
        if file.name == 'labelmap.txt':
            return _labelmap(file, text)
        if file.suffix == '.csv':
            return _table(file, text)
        if file.suffix == '.json':
            return _of_json(file, text)
        if file.suffix in ('.yaml', '.yml'):
            content = yaml_of(file, text)
            return _of_values(file, content.get('names')) if 'names' in content else None
    except DataError:
        raise
    except (OSError, ValueError) as error:
        raise DataError(f'{file}: cannot be read as class names ({error})') from error
    lines = tuple(line.strip() for line in text.splitlines() if line.strip())
    pairs = [re.fullmatch(r'(\d+)\s*[:,\s]\s*(.+)', line) for line in lines]
    if lines and all(pairs) and [int(p[1]) for p in pairs if p] == list(range(len(lines))):
        lines = tuple(p[2] for p in pairs if p)
    return _checked(file, lines)


def yaml_of(file: Path, text: str | None = None) -> dict[str, Any]:
    """A YAML file that is a mapping; numbers and ``false`` in it stay texts.

    Raises:
        DataError: if it is none.
    """
    import yaml

    class Texts(yaml.SafeLoader):
        """Leaves what it finds as text: a class may be called ``no``; not ``null`` and ``<<``."""

        yaml_implicit_resolvers = {
            first: [pair for pair in pairs if pair[0].rpartition(':')[2] in ('null', 'merge')]
            for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    try:
        content = yaml.load(file.read_text('utf-8-sig') if text is None else text, Texts)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DataError(f'{file}: cannot be read as YAML ({str(error).splitlines()[0]})') from error
    if not isinstance(content, dict):
        raise DataError(f'{file}: no mapping of names, train and val')
    return content


def names_of_mapping(value: Any, file: Path) -> tuple[str, ...]:
    """Names of a list, or of a mapping of numbers to names or of names to numbers.

    Raises:
        DataError: if it is neither, or numbers lack.
    """
    if isinstance(value, Mapping):
        items = list(value.items())
        numbered = [(k, v) for k, v in items if re.fullmatch(r'\d+', str(k))] or [
            (v, k) for k, v in items
        ]
        try:
            by_number = {int(number): str(name) for number, name in numbered}
        except (TypeError, ValueError):
            raise DataError(f'{file}: names without numbers') from None
        if any(name is None for _, name in numbered):
            raise DataError(f'{file}: a number without a name')
        if sorted(by_number) != list(range(len(items))):
            raise DataError(
                f'{file}: names of the numbers {some(list(map(str, sorted(by_number))), 8)}; '
                f'expected 0 to {len(items) - 1}'
            )
        return tuple(by_number[i] for i in range(len(items)))
    if isinstance(value, list):
        entries = [v.get('name') if isinstance(v, Mapping) else v for v in value]
        if all(isinstance(v, (str, int)) and not isinstance(v, bool) for v in entries):
            return tuple(map(str, entries))
    raise DataError(f'{file}: no list of class names')


def _of_values(file: Path, value: Any) -> Names | None:
    if isinstance(value, Mapping) and 'images' in value and 'annotations' in value:
        return None  # annotations, which happen to be called so
    if isinstance(value, Mapping) and 'classes' in value:
        value = value['classes']
    if isinstance(value, Mapping) and value and all(_is_colour(v) for v in value.values()):
        return _with_colours(file, [(tuple(v), str(k)) for k, v in value.items()])
    if isinstance(value, list) and value and all(
        isinstance(v, Mapping) and _is_colour(v.get('color')) for v in value
    ):
        return _with_colours(file, [(tuple(v['color']), str(v.get('name'))) for v in value])
    return _checked(file, names_of_mapping(value, file))


def _of_json(file: Path, text: str) -> Names | None:
    try:
        return _of_values(file, json.loads(text))
    except DataError:
        if file.name == 'labels.json':  # other tools call labels of images so
            return None
        raise


def _is_colour(value: Any) -> bool:
    return (
        isinstance(value, (list, tuple))
        and len(value) == 3
        and all(type(v) is int and 0 <= v < 256 for v in value)
    )


def _labelmap(file: Path, text: str) -> Names:
    """CVAT's ``name:red,green,blue:parts:actions``."""
    colours: list[tuple[Any, str]] = []
    plain = []
    for line in text.splitlines():
        if not line.strip() or line.startswith('#'):
            continue
        name, _, rest = line.partition(':')
        numbers = re.findall(r'\d+', rest.partition(':')[0])
        plain.append(name.strip())
        if len(numbers) == 3:
            colours.append((tuple(map(int, numbers)), name.strip()))
    return _with_colours(file, colours) if len(colours) == len(plain) else _checked(file, plain)


def _table(file: Path, text: str) -> Names | None:
    """``name,r,g,b`` (CamVid), or ``Pixel Value,Class`` (Roboflow)."""
    rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text)) if row]
    head = [cell.lower() for cell in rows[0]] if rows else []
    coloured = head[1:4] in (['r', 'g', 'b'], ['red', 'green', 'blue'])
    if not coloured and head != ['pixel value', 'class']:
        return None
    if short := [row for row in rows if len(row) < (4 if coloured else 2)]:
        raise ValueError(f'{",".join(short[0])!r} is no row of {",".join(head)}')
    if coloured:
        return _with_colours(file, [(tuple(map(int, r[1:4])), r[0]) for r in rows[1:]])
    return _checked(file, names_of_mapping({int(row[0]): row[1] for row in rows[1:]}, file))


def _with_colours(file: Path, colours: Sequence[tuple[Any, str]]) -> Names:
    names = [name for _, name in colours if name.lower() not in _IGNORED]
    checked = _checked(file, tuple(dict.fromkeys(names)))
    return Names(file, checked.by_number, tuple(colours))


def _checked(file: Path, names: Sequence[str]) -> Names:
    if not names or not all(names):
        raise DataError(f'{file}: no class names')
    if twice := [name for name in names if list(names).count(name) > 1]:
        raise DataError(f'{file}: names {twice[0]!r} twice')
    return Names(file, tuple(names))
