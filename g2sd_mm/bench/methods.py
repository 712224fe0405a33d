"""The rows of a table: :data:`METHODS` is the only table of methods.

A method is a way of making a student: its name in ``results.json``, how reports show it, what it is
claimed to come out ahead of, and where it comes from. A config that somebody adds to a suite says
the same of itself in ``row = dict(name=..., title=..., colour=..., claims=(...), source=...)``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from ..errors import UserError


@dataclass(frozen=True)
class Method:
    """One row of a task's table.

    name: in ``results.json``, tables and ``--rows``.
    title: in headings.
    colour: ``#rrggbb`` of middling lightness, so that it stands out on white and on black.
    claims: names of the methods that it is claimed to come out ahead of.
    in_words: those of them that the terminal and README say in a sentence.
    pictured: whether reports show its predictions.
    source: where the method comes from.
    """

    name: str
    title: str
    colour: str
    claims: tuple[str, ...] = ()
    in_words: tuple[str, ...] = ()
    pictured: bool = False
    source: str = ''


#: What a row of one's own has to beat, where its config does not say.
_YARDSTICKS = ('g2sd', 'g2sd_nosd')

_MAE = 'He et al., Masked Autoencoders Are Scalable Vision Learners, CVPR 2022'
_G2SD = 'Huang et al., Generic-to-Specific Distillation of Masked Autoencoders, CVPR 2023'

#: Systems that the paper compares with, and later ones; docs/baselines.md says what was taken.
_BASELINES = (
    ('deit', 'DeiT', '#a0785a', 'Touvron et al., ICML 2021, arXiv 2012.12877'),
    ('deit_mae', 'DeiT, MAE teacher', '#b99a6b', 'Touvron et al., ICML 2021, arXiv 2012.12877'),
    ('soft_kd', 'soft labels', '#7d8f5a', 'Hinton et al., 2015, arXiv 1503.02531'),
    ('nkd', 'NKD', '#4f9e8f', 'Yang et al., ICCV 2023, arXiv 2303.13005'),
    ('vitkd', 'ViTKD', '#5b8fa8', 'Yang et al., 2022, arXiv 2209.02432'),
    ('manifold', 'manifold', '#7a7fb5', 'Hao et al., NeurIPS 2022, arXiv 2107.01378'),
    ('mkd', 'MKD', '#a06fb0', 'Liu et al., 2022, arXiv 2202.07940'),
    ('ssta', 'SSTA', '#c06c9a', 'Wu et al., ICML 2022, PMLR 162'),
    ('tinybert', 'TinyBERT', '#c77b7b', 'Jiao et al., EMNLP 2020, arXiv 1909.10351'),
    ('dmae', 'DMAE', '#c98f4f', 'Bai et al., CVPR 2023, arXiv 2208.12256'),
    ('tinymim', 'TinyMIM', '#9a9a4a', 'Ren et al., CVPR 2023, arXiv 2301.01296'),
    ('sami', 'SAMI', '#5fa56f', 'Xiong et al., CVPR 2024, arXiv 2312.00863'),
    ('proteus', 'Proteus', '#4f97b5', 'Accessing Vision Foundation Models, ICLR 2025'),
    ('relation', 'token similarity', '#8a8ad0', 'LightlyTrain, third method'),
    ('cwd', 'CWD', '#b56fae', 'Shu et al., ICCV 2021, arXiv 2011.13256'),
    ('frs', 'FRS', '#cc7090', 'Du et al., NeurIPS 2021'),
    ('mgd', 'MGD', '#bd8a62', 'Yang et al., ECCV 2022, arXiv 2205.01529'),
)

#: From what knows nothing to the teacher: the order of tables and legends.
METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method('scratch', 'scratch', '#8d8d8d', pictured=True),
        Method('mae_student', 'MAE student', '#b07cc6', source=_MAE),
        Method('single_stage', 'single stage', '#5aa469', source=_G2SD),
        *(Method(name, title, shade, source=source) for name, title, shade, source in _BASELINES),
        Method(
            'g2sd_nosd',
            'G2SD, stage 1 only',
            '#e8a33d',
            claims=('single_stage', 'mae_student', 'scratch'),
            in_words=('scratch',),
            pictured=True,
            source=_G2SD,
        ),
        Method(
            'g2sd',
            'G2SD',
            '#e4572e',
            claims=('g2sd_nosd', 'single_stage', 'mae_student', 'scratch'),
            in_words=('scratch', 'g2sd_nosd'),
            pictured=True,
            source=_G2SD,
        ),
        Method('g2sd_plus', 'G2SD plus', '#b5342a', claims=('g2sd',), source=_G2SD),
        Method('teacher', 'teacher', '#4c86c6', claims=('g2sd',), pictured=True, source=_MAE),
    )
}

#: Methods of rows that a reader added, by name.
_ADDED: dict[str, Method] = {}

_PLAIN = 'vits'  # the student whose colours are not tinted
_OTHERS = ('#3aa6a6', '#c65b8f', '#8a9a3b', '#7a6ff0')


def method_of(name: str) -> Method:
    """The record of a method; one that nobody described gets a colour by its name."""
    known = METHODS.get(name) or _ADDED.get(name)
    return known or Method(
        name, name, _OTHERS[sum(name.encode()) % len(_OTHERS)], _YARDSTICKS, _YARDSTICKS
    )


def add(name: str, row: Mapping[str, Any]) -> Method:
    """Make the method of a row that a reader added known to every report of this process.

    Args:
        name: of the row.
        row: ``row`` of its config: fields of :class:`Method`, all optional.

    Raises:
        UserError: for a field that there is not, a colour that is none, or a method of this table.
    """
    if name in METHODS:
        raise UserError(f'row {name}: there is a method of this name already')
    known = [each.name for each in fields(Method) if each.name != 'name']
    if unknown := sorted(set(row) - {*known, 'name'}):
        raise UserError(f'row {name} has {", ".join(unknown)}: there are {", ".join(known)}')
    if not re.fullmatch('#[0-9a-fA-F]{6}', str(row.get('colour', '#000000'))):
        raise UserError(f'row {name} has the colour {row["colour"]!r}: give it as #rrggbb')
    told = {**asdict(method_of(name)), **row, 'name': name}
    told['in_words'] = row.get('in_words', told['claims'])
    for key in ('claims', 'in_words'):  # ('g2sd') without a comma is one name
        told[key] = (told[key],) if isinstance(told[key], str) else tuple(told[key])
    _ADDED[name] = Method(**told)
    return _ADDED[name]


def as_values(method: Method) -> dict[str, Any]:
    """What :func:`add` takes, as JSON gives it back."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(method).items()}


def colour(name: str) -> str:
    """A method's colour, the same in every picture.

    Of ``g2sd vitt``, where there are several students, a tint of its method's.
    """
    method, _, student = name.partition(' ')
    base = method_of(method).colour
    return _tint(base) if student not in ('', _PLAIN) else base


def _tint(colour: str) -> str:
    """``#rrggbb``, halfway to white."""
    channels = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return '#' + ''.join(f'{(channel + 255) // 2:02x}' for channel in channels)


def ordered(names: Iterable[str]) -> list[str]:
    """Names in the order of :data:`METHODS`, others behind, each once."""
    places = list(METHODS)
    known = {name: name.partition(' ')[0] for name in names}
    return sorted(
        known, key=lambda n: places.index(known[n]) if known[n] in METHODS else len(places)
    )


def claims(names: Iterable[str], in_words: bool = False) -> Iterator[tuple[str, str]]:
    """(ahead, behind) of every claim that these methods speak to.

    Args:
        names: of the rows that there are.
        in_words: only those that are said in a sentence.
    """
    found = list(dict.fromkeys(names))
    known = [name for name in METHODS if name in found]
    others = [name for name in found if name not in METHODS]
    for name in [*(known if in_words else reversed(known)), *others]:
        method = method_of(name)
        for behind in method.in_words if in_words else method.claims:
            yield name, behind
