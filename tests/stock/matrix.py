"""Run rows of the matrix, keep what became of them, and write the page about it."""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest import mock

from ..helpers.toys import ROOT
from . import configs, features
from .chain import STEPS, Chain

RESULTS = ROOT / 'docs' / 'results' / 'compatibility.json'
PAGE = ROOT / 'docs' / 'compatibility.md'
_MARKS = ('<!-- table: python -m tests.stock -->', '<!-- end of the table -->')
_PACKAGES = {
    'mmpretrain': 'onedl-mmpretrain', 'mmdet': 'onedl-mmdetection',
    'mmseg': 'onedl-mmsegmentation',
}  # fmt: skip
Outcomes = dict[str, str]


@contextlib.contextmanager
def unformatted() -> Iterator[None]:
    """Configs are logged as they are: laying them out takes longer than two steps."""
    with mock.patch('yapf.yapflib.yapf_api.FormatCode', lambda text, *_, **__: (text, True)):
        yield


def run_row(row: configs.Row, data: Path, folder: Path) -> Outcomes:
    """What becomes of a stock config, step by step."""
    image = next((data / 'cls/val').rglob('*.png'))
    chain = Chain(
        configs.build(row, data), row.name, folder, image,
        lambda cfg, teacher, weights: configs.distilled(row, cfg, teacher, weights),
    )  # fmt: skip
    return _plain(chain.run(), folder)


def run_feature(feature: str, library: str, data: Path, folder: Path) -> Outcomes:
    """What becomes of a config of ours with one change."""
    cfg = features.build(library, feature, data)
    images = Path(cfg['test_dataloader']['dataset']['data_root'])
    found = [p for p in sorted(images.rglob('*.*')) if p.suffix in ('.png', '.tif')]
    image = next(path for path in found if 'masks' not in path.parts)
    name = f'{library}_{re.sub(r"[^a-z0-9]+", "_", feature.lower())}'
    chain = Chain(
        cfg, name, folder, image,
        lambda cfg, teacher, weights: features.distilled(library, feature, cfg, teacher, weights),
    )  # fmt: skip
    return _plain(chain.run(), folder)


def _plain(outcomes: Outcomes, folder: Path) -> Outcomes:
    """Without the paths of this run."""
    return {step: text.replace(str(folder), '...') for step, text in outcomes.items()}


def works(outcomes: Outcomes) -> bool:
    """Every step was made."""
    return all(outcomes.get(step) == 'yes' for step in STEPS)


def key(row: configs.Row) -> str:
    """The row in the file of results."""
    return f'{row.library} {row.backbone} {row.head}'


def load() -> dict[str, Any]:
    """The results that are on file."""
    return json.loads(RESULTS.read_text())


def write_all(data: Path, words: Sequence[str] = ()) -> None:
    """Run everything, write the file of results and the page.

    Args:
        data: of :func:`~tests.stock.data.write_data`.
        words: run only the rows with one of these in their names, and keep the others' results.
    """
    results = load() if words else {'configs': {}, 'features': {}}
    results['command'] = 'python -m tests.stock'
    results['versions'] = {name: version(package) for name, package in _PACKAGES.items()}

    def asked(name: str) -> bool:
        return not words or any(word in name for word in words)

    with tempfile.TemporaryDirectory() as folder, unformatted():
        for row in filter(lambda row: asked(key(row)), configs.ROWS):
            results['configs'][key(row)] = run_row(row, data, Path(folder) / row.name)
        for i, feature in enumerate(features.FEATURES):
            for library in features.LIBRARIES:
                if asked(name := f'{library} {feature}'):
                    results['features'][name] = run_feature(
                        feature, library, data, Path(folder) / f'{library}_{i}'
                    )
    RESULTS.write_text(json.dumps(results, indent=1) + '\n')
    write_page(results)


def write_page(results: dict[str, Any]) -> None:
    """The page with the tables of these results."""
    PAGE.write_text(with_tables(PAGE.read_text(), results))


def with_tables(page: str, results: dict[str, Any]) -> str:
    """The page's text with the tables of these results between its marks."""
    begin, end = _MARKS
    before, rest = page.split(begin)
    after = rest.split(end)[1]
    return f'{before}{begin}\n{tables(results)}{end}{after}'


def tables(results: dict[str, Any]) -> str:
    """Markdown: a table a library, and one of what is changed in a config."""
    notes: list[str] = []
    lines = []
    for library, sources in configs.SOURCES.items():
        heads = configs.HEADS[library]
        lines += [f'**{library}** {results["versions"][library]}', '']
        lines += _head('backbone', 'stock config', *heads)
        for backbone, source in sources.items():
            cells = [
                _cell(results['configs'][f'{library} {backbone} {head}'], notes) for head in heads
            ]
            lines.append(_line(f'`{backbone}`', f'`{source}`', *cells))
        lines.append('')
    lines += ['**Changes to a config** of this project\'s backbones', '']
    lines += _head('change', *features.LIBRARIES)
    for feature in features.FEATURES:
        cells = [
            _cell(results['features'][f'{library} {feature}'], notes)
            for library in features.LIBRARIES
        ]
        lines.append(_line(f'`{feature}`' if '=' in feature else feature, *cells))
    lines.append('')
    lines += [f'{number}. {note}' for number, note in enumerate(notes, start=1)]
    return '\n'.join([*lines, '']) if notes else '\n'.join(lines)


def _cell(outcomes: Outcomes, notes: list[str]) -> str:
    if works(outcomes):
        return 'yes'
    step = next(step for step in STEPS if outcomes.get(step) != 'yes')
    note = outcomes.get(step, 'not tried')
    if note not in notes:
        notes.append(note)
    return f'no ({notes.index(note) + 1})'


def _head(*titles: str) -> list[str]:
    return [_line(*titles), '|' + '---|' * len(titles)]


def _line(*cells: str) -> str:
    return f'| {" | ".join(cells)} |'


def check(outcomes: Outcomes, on_file: Outcomes) -> None:
    """What became of a row is what the page says.

    Raises:
        AssertionError: with the step and the error's line.
    """
    if outcomes != on_file:
        raise AssertionError(f'now {outcomes}; docs/results/compatibility.json: {on_file}')


