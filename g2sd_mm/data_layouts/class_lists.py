"""Images with classes: a list in a CSV file, class folders under numbers, parts held out."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

from ..errors import DataError
from ..image_files import files_below, folders_in, is_image, is_stray
from ..text import printable, some
from .choices import Choices
from .copies import copy_of, digest_of, link
from .layout import Layout, Listing, Split, split_named, split_of
from .names import names_beside

_LABELS = ('label', 'labels', 'class', 'class_name', 'category', 'target', 'species')
_IMAGES = (
    'filename', 'file_name', 'file', 'files', 'image', 'images', 'img', 'image_name', 'img_name',
    'image_file', 'path', 'filepath', 'file_path', 'image_path', 'img_path', 'image_id',
)  # fmt: skip
_BOXES = frozenset(('xmin', 'x_min', 'bbox', 'bounding_box'))
_SPLIT_COLUMNS = ('split', 'set', 'subset', 'partition', 'usage')
_LOOKED_AT = 20
_SET = ('1', '1.0')  # in the column of a class
_EACH = 'each'  # answer that all columns are classes


@dataclass(frozen=True)
class _Row:
    image: PurePath
    label: str
    split: str


class ClassList:
    """A folder with images and a CSV file that has a class for each."""

    def __init__(self, listing: Listing) -> None:
        self.root, self._listing = listing.root, listing
        self._tables = [
            table
            for path in listing.ending('.csv', '.tsv')
            if len(path.parts) <= 2 and 'submission' not in path.name.lower()  # made-up classes
            and (table := _Table.read(listing.root / path, listing))
        ]

    def __bool__(self) -> bool:
        return bool(self._tables)

    def layout(self, choices: Choices) -> Layout:
        """Class folders of links, made once.

        Raises:
            DataError: for images that are not there, several classes of one, two lists of one
                split, or a list with several columns that can be the class.
        """
        tables: dict[str, list[_Table]] = {}
        for table in self._tables:
            tables.setdefault(split_of(table.file.relative_to(self.root)), []).append(table)
        chosen = {}
        for split, several in tables.items():
            files = {str(t.file.relative_to(self.root)): t for t in several}
            readings = {name: f'the list {name}' for name in files}
            chosen[split] = files[choices.answer('file', readings, self.root)]
        rows = self._rows(chosen, choices)
        named = [table.file for table in chosen.values()]
        listed = [file.relative_to(self.root) for file in named]
        folders = _class_folders((row.label for row in rows), named[0])
        key = digest_of(self.root, [*listed, *self._listing.images], choices.plain()['read_as'])

        def build(folder: Path) -> dict[str, Any]:
            for row in rows:
                place = folder / (row.split or self.root.name) / folders[row.label]
                link(self.root / row.image, place / _one_name(row.image))
            return {'images': len(rows)}

        copy, _, new = copy_of(self.root, f'classes-{key}', build)
        splits = sorted({row.split for row in rows}, key=['train', 'val', 'test', ''].index)
        parts = [Split(name or self.root.name, copy / (name or self.root.name)) for name in splits]
        if 'test' not in splits:
            parts += self._listing.unlabelled_test({row.image for row in rows})
        unlisted = len(self._listing.images) - len(rows)
        notes = [f'{named[0]}: class folders of links {"are" if new else "were"} made in {copy}']
        if unlisted:
            notes.append(f'{unlisted} images are in no list')
        return Layout(self.root, copy, 'cls', tuple(parts), (), copy, tuple(notes))

    def _rows(self, chosen: dict[str, _Table], choices: Choices) -> list[_Row]:
        """Of all lists; one of all images is left out where the splits have lists of them all."""
        read = {split: table.rows(choices, split) for split, table in chosen.items()}
        parts = {row.image for split, rows in read.items() if split for row in rows}
        if parts.issuperset(row.image for row in read.get('', ())):
            read.pop('', None)
        first: dict[PurePath, str] = {}
        for split, rows in read.items():
            for row in rows:
                if (other := first.setdefault(row.image, split)) != split:
                    raise DataError(
                        f'{chosen[split].file}: {row.image} is in {chosen[other].file} too: leave '
                        'it in one of the two'
                    )
        return [row for rows in read.values() for row in rows]


@dataclass(frozen=True)
class _Table:
    """A CSV file with a column of images.

    columns: numbers of those that can be it; more than one where they mean different images.
    """

    file: Path
    head: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    columns: tuple[int, ...]
    listing: Listing

    @classmethod
    def read(cls, file: Path, listing: Listing) -> _Table | None:
        """None if it has no such column."""
        try:
            text = file.read_text(encoding='utf-8-sig')
            head = text.splitlines()[0] if text.strip() else ''
            # a name in the first line may have a comma, so each mark is tried
            marks = sorted(filter(head.count, ',;\t'), key=head.count, reverse=True)
            tables = (_Table._split(file, text, mark, listing) for mark in marks)
            return next(filter(None, tables), None)
        except (OSError, ValueError, csv.Error) as error:
            raise DataError(f'{file}: cannot be read as a table ({error})') from error

    @classmethod
    def _split(cls, file: Path, text: str, mark: str, listing: Listing) -> _Table | None:
        rows = csv.reader(io.StringIO(text), delimiter=mark)
        lines = [line for row in rows if any(line := tuple(cell.strip() for cell in row))]
        widths = {len(line) for line in lines}
        if len(lines) < 2 or len(widths) != 1 or widths == {1}:
            return None
        columns = _image_columns(lines, listing)
        if not columns:
            return None
        headless = bool(listing.alike(lines[0][columns[0]]))
        names = tuple(map(str, range(len(lines[0])))) if headless else lines[0]
        table = cls(file, names, tuple(lines[0 if headless else 1 :]), columns, listing)
        return table if table.classes else None

    @property
    def images(self) -> int:
        """Number of the column of images."""
        return self.columns[0]

    @property
    def classes(self) -> list[int]:
        """Numbers of the columns that can have classes."""
        others = ('', *_IMAGES, *_SPLIT_COLUMNS)  # pandas leaves the head of its index empty
        return [
            i
            for i, name in enumerate(map(str.lower, self.head))
            if i != self.images and name not in others and not name.startswith('unnamed: ')
        ]

    def rows(self, choices: Choices, split: str) -> list[_Row]:
        """All lines; without a split of their own, the file's, or that of the image's folder."""
        if len(self.columns) > 1:
            first, second = (f'{i + 1} ({self.head[i]!r})' for i in self.columns[:2])
            raise DataError(
                f'{self.file}: column {first} and column {second} name different images: call the '
                'one that counts filename, or remove the other'
            )
        found, labels = [], self._labels(choices)
        parts = [i for i, name in enumerate(self.head) if name.lower() in _SPLIT_COLUMNS]
        for line, label in zip(self.lines, labels, strict=True):
            image = self.listing.find(line[self.images])
            if image is None:
                raise DataError(f'{self.file}: {line[self.images]} is not there')
            if not label:
                raise DataError(f'{self.file}: {line[self.images]} has no class')
            own = split_named(line[parts[0]]) if parts else ''
            found.append(_Row(image, label, own or split or split_of(image.parent)))
        twice = [i for i, n in Counter(row.image for row in found).items() if n > 1]
        if twice:
            raise DataError(f'{self.file}: {twice[0]} has more than one line')
        return found

    def _labels(self, choices: Choices) -> list[str]:
        names = [n.lower() for n in self.head]
        rest, told = self.classes, bool(choices.told('column'))
        if not told and (boxes := _BOXES.intersection(names)):
            raise DataError(
                f'{self.file} has boxes in column {min(boxes)}, which are not read from a list: '
                'export them as COCO JSON; --read-as column=NAME reads a class of the whole image'
            )
        known = [i for i in rest if names[i] in _LABELS]
        bits = len(rest) > 1 and self._are_bits(rest)
        # one of them may be called label by chance, as a class, or the others be no classes
        doubtful = bits and all(len(self._set(line, rest)) == 1 for line in self.lines)
        if bits and not told and not known:
            return [self._one_of(line, rest) for line in self.lines]
        column = known if len(known) == 1 and not told else rest
        readings = {_EACH: 'with a class for each column'} if doubtful else {}
        readings |= {self.head[i]: f'with the classes in column {self.head[i]}' for i in column}
        chosen = choices.answer('column', readings, self.file)
        if chosen not in self.head:
            return [self._one_of(line, rest) for line in self.lines]
        return [line[self.head.index(chosen)] for line in self.lines]

    def _are_bits(self, columns: Sequence[int]) -> bool:
        return {line[i] for line in self.lines for i in columns} <= {*_SET, '0', '0.0'}

    def _set(self, line: Sequence[str], columns: Sequence[int]) -> list[str]:
        return [self.head[i] for i in columns if line[i] in _SET]

    def _one_of(self, line: Sequence[str], columns: Sequence[int]) -> str:
        """The class of a row of noughts and ones."""
        set_ = self._set(line, columns)
        if len(set_) != 1:
            raise DataError(
                f'{self.file}: {line[self.images]} has {len(set_)} classes ({some(set_)}); each '
                'image needs one; if one column has them all, name it '
                f'(--read-as column={printable(self.head[columns[0]])})'
            )
        return set_[0]


def _image_columns(lines: Sequence[Sequence[str]], listing: Listing) -> tuple[int, ...]:
    """Columns whose cells are images, those that say so most clearly; one if they mean the same."""
    rows = lines[1:]
    looked = rows[:_LOOKED_AT]  # what lacks is named when it is read
    clear, fits = set(), []
    for column, head in enumerate(lines[0]):
        cells = [row[column] for row in looked if row[column] and listing.alike(row[column])]
        if 2 * len(cells) > len(looked) and head.lower() not in (*_LABELS, *_SPLIT_COLUMNS):
            fits.append(column)
            said = [cell for cell in cells if is_image(cell) or {'/', '\\'} & set(cell)]
            if 2 * len(said) > len(looked):
                clear.add(column)
    for better in (
        clear,
        {column for column in fits if lines[0][column].lower() in _IMAGES},
        {column for column in fits if len({row[column] for row in rows}) == len(rows)},
    ):
        fits = [column for column in fits if column in better] or fits
    meant = {column: [listing.alike(row[column]) for row in rows] for column in fits}
    same = len(fits) < 2 or all(meant[column] == meant[fits[0]] for column in fits)
    return tuple(fits[:1] if same else fits)


def _class_folders(labels: Iterable[str], file: Path) -> dict[str, str]:
    """The folder of each class, called as it is as far as a folder can be; never a hidden one.

    Raises:
        DataError: if two classes would get one folder.
    """
    folders: dict[str, str] = {}
    owners: dict[str, str] = {}
    for label in labels:
        name = label.replace('/', '_')
        folders[label] = f'class {name}' if is_stray(name) else name
        if (other := owners.setdefault(folders[label], label)) != label:
            raise DataError(
                f'{file}: the classes {printable(other)} and {printable(label)} would both be in a '
                f'folder {printable(folders[label])}: rename one of them'
            )
    return folders


def _one_name(image: PurePath) -> str:
    """A name that is the image's alone: its path below the split's folder."""
    parts = [part for part in image.parts[:-1] if not split_named(part)]
    return '__'.join([*parts, image.name])


def with_names(layout: Layout, choices: Choices) -> Layout:
    """Class folders that are called by numbers under the names of a file beside them.

    Raises:
        DataError: for a number without a name, or if numbers can count from 0 and from 1.
    """
    labelled = [split for split in layout.splits if split.labelled]
    folders = {folder.name for split in labelled for folder in folders_in(split.images)}
    if not folders or not all(name.isascii() and name.isdigit() for name in folders):
        return layout
    names = names_beside(layout.origin)
    if names is None:
        return layout
    number = {name: int(name) for name in folders}
    lowest, highest = min(number.values()), max(number.values())
    last = len(names.by_number) - 1
    if highest > last + (lowest > 0):
        raise DataError(
            f'{layout.origin} has a class folder {max(number, key=lambda n: number[n])}, and '
            f'{names.file} names {last + 1} classes'
        )
    readings = {
        f'from-{first}': f'class folders that count from {first}: {lowest} is '
        f'{names.by_number[lowest - first]}'
        for first in (0, 1)
        if first <= lowest and highest - first <= last
    }
    how = choices.answer('numbers', readings, layout.origin)
    first = int(how.removeprefix('from-'))
    of_class = _class_folders(names.by_number, names.file)
    called = {n: of_class[names.by_number[i - first]] for n, i in number.items()}

    def build(folder: Path) -> dict[str, Any]:
        for split in labelled:
            for own in folders_in(split.images):
                for file in files_below(own):
                    place = folder / split.name / called[own.name] / file.relative_to(own)
                    link(file, place)
        return {'names': called}

    files = [f.relative_to(layout.origin) for s in labelled for f in files_below(s.images)]
    key = digest_of(layout.origin, [*files, names.file.absolute()], called)
    copy, _, _ = copy_of(layout.origin, f'named-{key}', build)
    splits = [replace(s, images=copy / s.name) if s.labelled else s for s in layout.splits]
    note = f'{names.file} names {readings[how]}'
    return replace(
        layout, root=copy, splits=tuple(splits), copy=copy, notes=(*layout.notes, note)
    )
