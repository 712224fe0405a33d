"""matplotlib figures as SVG for a page: no background, text in the colour of the page's text."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# stands for the colour of the text around the picture, which is light on a dark page
_INK = '#010203'
_STYLE = {
    'svg.fonttype': 'none',  # text stays text: small files, and it can be searched
    'font.family': 'sans-serif',
    'font.sans-serif': ['DejaVu Sans'],
    'font.size': 9,
    'axes.titlesize': 10,
    'text.color': _INK,
    'axes.edgecolor': _INK,
    'axes.labelcolor': _INK,
    'axes.facecolor': 'none',
    'figure.facecolor': 'none',
    'xtick.color': _INK,
    'ytick.color': _INK,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.grid': True,
    'grid.color': _INK,
    'grid.alpha': 0.15,
    'legend.frameon': False,
    'legend.fontsize': 8,
    'lines.linewidth': 1.6,
}


def svg(name: str, draw: Callable[[Figure], None], width: float = 8, height: float = 3.4) -> str:
    """An ``<svg>`` element.

    Args:
        name: of the picture; the same drawing under the same name gives the same text, and
            drawings of different names on one page keep their identifiers apart.
        draw: puts axes and lines into the figure.
        width, height: in inches.
    """
    settings: dict[Any, Any] = {**_STYLE, 'svg.hashsalt': name}
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(width, height), layout='constrained')
        draw(figure)
        text = io.StringIO()
        FigureCanvasSVG(figure).print_svg(text, metadata={'Date': None})
    content = text.getvalue().replace(_INK, 'currentColor')
    return content[content.index('<svg') :]
