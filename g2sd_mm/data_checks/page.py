"""A report as one HTML page: what is there, a contact sheet, what is wrong."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from ..image_files import UNTURNED
from ..tasks.drawing import class_colour
from .coco import CocoSplit
from .findings import KINDS
from .image_masks import ImageMasks
from .overview import Overview, spread
from .run import Report
from .source import Source

_SIDE = 168  # px of a thumbnail
_MOST = 36  # of a split
_CANDIDATES = 5000
_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#222}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}
table{border-collapse:collapse}td{padding:.1rem .6rem .1rem 0;vertical-align:top}
.bar{background:#4878a8;height:.8rem;display:inline-block;min-width:1px}
.sheet{display:flex;flex-wrap:wrap;gap:6px}figure{margin:0;width:168px}
figcaption{font-size:12px;overflow-wrap:anywhere}.harm{color:#a40000}
@media (prefers-color-scheme:dark){body{background:#181a1b;color:#ddd}.harm{color:#ff8080}}
"""


def render(report: Report, sources: Sequence[Source], title: str) -> str:
    """The page of a check; pictures are in it, so that it can be sent as one file."""
    parts = [
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>',
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>',
        f'<h1>{escape(title)}</h1><p>{escape(report.count_line())}</p>',
        '<ul>', *(f'<li>{escape(line)}</li>' for line in (*report.notes, *report.hints)), '</ul>',
    ]  # fmt: skip
    for overview, source in zip(report.overviews, sources, strict=True):
        parts += [f'<h2>{escape(overview.split)}</h2>', *_facts(overview)]
        parts += ['<div class="sheet">', *_sheet(source), '</div>']
    parts += ['<h2>Findings</h2>', *_findings(report), '</html>']
    return '\n'.join(parts)


def _facts(overview: Overview) -> Iterator[str]:
    yield ''.join(f'<p>{escape(line)}</p>' for line in overview.lines()[:1])
    tables = {
        f'{overview.thing} of each class': list(overview.classes.items()),
        'how many in an image': [(str(n), i) for n, i in sorted(overview.per_image.items())],
    }
    for what, counts in tables.items():
        if not counts:
            continue
        most = max(1, *(number for _, number in counts))
        rows = ''.join(
            f'<tr><td>{escape(name)}</td><td>{number}</td><td><span class="bar" '
            f'style="width:{16 * number / most:.2f}rem"></span></td></tr>'
            for name, number in counts
        )
        yield f'<details{" open" if len(counts) <= 40 else ""}><summary>{what}</summary>'
        yield f'<table>{rows}</table></details>'


def _findings(report: Report) -> Iterator[str]:
    if not report.findings:
        yield '<p>Nothing.</p>'
    for kind, group in report.by_kind().items():
        mark = ' class="harm"' if KINDS[kind].harmful else ''
        yield f'<p{mark}><b>{len(group)} {escape(KINDS[kind].title)}</b>: '
        yield f'{escape(KINDS[kind].remedy)}</p><ul>'
        for finding in group[:20]:
            yield f'<li>{escape(finding.path)} {escape(finding.detail)}</li>'
        yield f'<li>and {len(group) - 20} more</li></ul>' if len(group) > 20 else '</ul>'


def _sheet(source: Source) -> Iterator[str]:
    """Thumbnails with their labels, spread over classes."""
    paths = source.images()
    step = max(1, len(paths) // _CANDIDATES)
    paths = paths[::step]
    objects = source.objects() if isinstance(source, CocoSplit) else {}
    masks = dict(zip(source.images(), source.masks(), strict=False))
    if objects:
        groups: list[Any] = [{name for name, _ in objects.get(path, ())} for path in paths]
    else:
        groups = [[source.label(path) or Path(path).parent.name] for path in paths]
    for place in spread(groups, _MOST):
        path = paths[place]
        try:
            with Image.open(path) as image:
                image.draft('RGB', (2 * _SIDE, 2 * _SIDE))
                upright = image if image.format in UNTURNED else ImageOps.exif_transpose(image)
                size, drawn = upright.size, upright.convert('RGB')
            drawn.thumbnail((_SIDE, _SIDE))
            found = objects.get(path, [])
            if found:
                number = {name: i for i, name in enumerate(source.names().values())}  # type: ignore[attr-defined]
                listed = source.size(path)  # type: ignore[attr-defined]
                _draw_boxes(drawn, [(number[n], box) for n, box in found], listed or size)
            elif isinstance(source, ImageMasks):
                drawn = _with_mask(drawn, masks[path][0])
        except Exception:  # what cannot be read is among the findings
            continue
        label = source.label(path) or ', '.join(sorted({name for name, _ in found}))
        yield (
            f'<figure><img alt="" src="{_embedded(drawn)}"><figcaption>'
            f'{escape(label[:80])} <small>{escape(Path(path).name)}</small></figcaption></figure>'
        )


def _draw_boxes(
    image: Image.Image, objects: Sequence[tuple[int, Sequence[float]]], size: tuple[int, int]
) -> None:
    canvas = ImageDraw.Draw(image)
    across, down = image.width / size[0], image.height / size[1]
    for label, (x, y, w, h) in objects:
        edges = (x * across, y * down, (x + max(w, 0)) * across, (y + max(h, 0)) * down)
        canvas.rectangle(edges, outline=class_colour(label), width=2)


def _with_mask(image: Image.Image, mask_path: str) -> Image.Image:
    with Image.open(mask_path) as mask:
        numbers = np.asarray(mask.resize(image.size, Image.Resampling.NEAREST))
    table = np.array([class_colour(i) for i in range(256)], np.uint8)
    table[0] = 0
    pixels = np.asarray(image)
    shown = (numbers > 0) & (numbers != 255)
    mixed = np.where(shown[..., None], pixels // 2 + table[numbers.astype(np.uint8)] // 2, pixels)
    return Image.fromarray(mixed.astype(np.uint8))


def _embedded(image: Image.Image) -> str:
    stream = BytesIO()
    image.save(stream, 'JPEG', quality=80)
    return 'data:image/jpeg;base64,' + base64.b64encode(stream.getvalue()).decode()
