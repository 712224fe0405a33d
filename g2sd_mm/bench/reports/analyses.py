"""Analyses as plots, in a sentence, and as a part of the report."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ...errors import UserError
from ...tasks import TASKS
from .. import methods
from .blocks import Block, Heading, Paragraph
from .blocks import Figure as Drawing
from .plots import svg

Result = Mapping[str, Any]


@dataclass(frozen=True)
class Look:
    """How an analysis is shown.

    title: heading in the report.
    caption: what the plot shows, and what to look for.
    sentence: the result in a few figures.
    draw: fills the plot; None for an analysis that shows pictures.
    height: of the plot in inches.
    """

    title: str
    caption: str
    sentence: Callable[[Result], str]
    draw: Callable[[Figure, Result], None] | None = None
    height: float = 3.4


def draw(result: Result, of: str = '') -> str:
    """The plot of an analysis as SVG; empty for one that shows pictures.

    Args:
        result: content of its JSON file.
        of: tells it from other plots of the same analysis on one page.
    """
    look = LOOKS[result['analysis']]
    fill = look.draw
    if fill is None:
        return ''
    name = f'analysis {result["analysis"]}{of}'
    return svg(name, lambda fig: fill(fig, result), height=look.height)


def summary(result: Result) -> str:
    """An analysis in a sentence."""
    return LOOKS[result['analysis']].sentence(result)


def analysis_parts(folder: Path) -> Iterator[Block]:
    """Heading, sentence and plot of every analysis that ``folder/<name>.json`` has.

    Of classifiers; those of the other tasks lie below, in a folder called by their key.
    """
    for task in TASKS.values():
        classifiers = task.key == 'cls'
        below = folder if classifiers else folder / task.key
        of = '' if classifiers else f', {task.name}'
        for name, look in LOOKS.items():
            file = below / f'{name}.json'
            if file.is_file() and look.draw is not None:
                with _read(file) as result:
                    said = f'{summary(result)} ({result["images"]} images.)'
                    picture = draw(result, of)
                yield Heading(look.title + of)
                yield Paragraph(said)
                yield Drawing(picture, look.caption, look.title + of)


def reconstruction_sentence(folder: Path) -> str:
    """The losses of ``folder/reconstruction.json``; empty if there is none."""
    file = folder / 'reconstruction.json'
    if not file.is_file():
        return ''
    with _read(file) as result:
        return summary(result)


def analysis_commands(folder: Path) -> list[str]:
    """How the analyses in a folder were made."""
    commands = []
    for file in sorted(folder.rglob('*.json')):
        if file.stem in LOOKS:
            with _read(file) as result:
                commands.append(result['command'])
    return commands


@contextmanager
def _read(file: Path) -> Iterator[Result]:
    """What an analysis wrote; within the block, entries that are not as they should be are told.

    Raises:
        UserError: for a file that is none.
    """
    try:
        yield json.loads(file.read_text())
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(
            f'{file} is not what an analysis wrote ({type(error).__name__}: {error}): make it '
            'again by tools/analyze.py, or move it away'
        ) from error


# Each analysis ------------------------------------------------------------------------------------


def _agreement_sentence(result: Result) -> str:
    said = [
        f'{name} agrees with the teacher on {a["same"]:.1f} %'
        for name, a in result['agreement'].items()
    ]
    errors = [f'{name} {c["ece"]:.1f}' for name, c in result['calibration'].items()]
    return '; '.join(said) + f'. Calibration error in percent: {", ".join(errors)}.'


def _draw_agreement(fig: Figure, result: Result) -> None:
    left, right = fig.subplots(1, 2, width_ratios=(1, 1.1))
    names = methods.ordered(result['agreement'])
    places = range(len(names))
    for shift, key, alpha in ((-0.2, 'same_where_right', 1.0), (0.2, 'same_where_wrong', 0.45)):
        values = [result['agreement'][name][key] or 0 for name in names]
        colours = [methods.colour(name) for name in names]
        left.bar([p + shift for p in places], values, 0.38, color=colours, alpha=alpha)
    left.set(
        xticks=list(places), ylabel='same answer (%)', ylim=(0, 100),
        title='where the teacher is right (full), wrong (pale)',
    )  # fmt: skip
    left.set_xticklabels([name.replace('_', '\n') for name in names])
    left.grid(axis='x', visible=False)
    right.plot([0, 1], [0, 1], linewidth=0.8, linestyle=':', color='#888888')
    for name in methods.ordered(result['calibration']):
        bins = result['calibration'][name]['bins']
        points = [
            (confidence, accuracy)
            for n, confidence, accuracy in zip(
                bins['count'], bins['confidence'], bins['accuracy'], strict=True
            )
            if n >= max(5, sum(bins['count']) / 200)  # a handful of images says nothing
        ]
        if points:
            colour = methods.colour(name)
            right.plot(*zip(*points, strict=True), marker='.', label=name, color=colour)
    right.set(xlabel='confidence', ylabel='accuracy', xlim=(0, 1), ylim=(0, 1))
    if right.get_legend_handles_labels()[0]:  # of few images every bin may be too small
        right.legend()


def _occlusion_sentence(result: Result) -> str:
    half = min(range(len(result['fractions'])), key=lambda i: abs(result['fractions'][i] - 0.5))
    random = result['orders']['random']
    share = {
        name: 100 * curve['accuracy'][half] / max(curve['accuracy'][0], 1e-9)
        for name, curve in random.items()
    }
    said = ', '.join(f'{name} {share[name]:.0f} %' for name in methods.ordered(share))
    fraction = round(100 * result['fractions'][half])
    return f'With {fraction} % of the patches gone at random, of its accuracy keeps {said}.'


def _draw_occlusion(fig: Figure, result: Result) -> None:
    axes = fig.subplots(2, 2, sharex=True)
    dropped = [100 * fraction for fraction in result['fractions']]
    for column, way in enumerate(('random', 'salient')):
        for row, key in enumerate(('accuracy', 'similarity')):
            place = axes[row][column]
            for name in methods.ordered(result['orders'][way]):
                values = result['orders'][way][name][key]
                place.plot(dropped, values, label=name, color=methods.colour(name), marker='.')
        axes[0][column].set(title=f'{way} patches gone', ylim=(0, 100))
        axes[1][column].set(xlabel='dropped (%)', ylim=(None, 1.02))
    axes[0][0].set_ylabel('accuracy (%)')
    axes[1][0].set_ylabel('feature similarity')
    axes[0][0].legend()


def _corruption_sentence(result: Result) -> str:
    names = methods.ordered(result['clean'])
    said = [f'{name} {result["clean"][name]:.1f} to {result["mean"][name]:.1f}' for name in names]
    return f'Accuracy in percent, clean to mean over all corruptions: {", ".join(said)}.'


def _draw_corruption(fig: Figure, result: Result) -> None:
    names = methods.ordered(result['accuracy'])
    kinds = list(result['accuracy'][names[0]])
    columns = 5
    rows = -(-len(kinds) // columns)
    axes = fig.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flatten()
    steps = [0, *result['severities']]
    for place, kind in zip(axes, kinds, strict=False):
        for name in names:
            values = [result['clean'][name], *result['accuracy'][name][kind]]
            place.plot(steps, values, color=methods.colour(name), label=name, marker='.')
        place.set(title=kind.replace('_', ' '), ylim=(0, 100), xticks=steps)
    for place in axes[len(kinds) :]:
        place.set_axis_off()
    handles, labels = axes[0].get_legend_handles_labels()
    spare = axes[len(kinds)] if len(axes) > len(kinds) else axes[0]
    spare.legend(handles, labels, loc='center')
    fig.supylabel('accuracy (%)', fontsize=9)
    fig.supxlabel('severity (0: clean)', fontsize=9)


def _cka_sentence(result: Result) -> str:
    last = {name: result['cka'][name][-1][-1] for name in methods.ordered(result['cka'])}
    said = [f'{n} {"none" if value is None else f"{value:.2f}"}' for n, value in last.items()]
    return f'Similarity of the last block to the teacher\'s last: {", ".join(said)}.'


def _draw_cka(fig: Figure, result: Result) -> None:
    names = methods.ordered(result['cka'])
    axes = fig.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for place, name in zip(axes, names, strict=True):
        values = [_drawn(layers) for layers in result['cka'][name]]
        image = place.imshow(values, vmin=0, vmax=1, cmap='viridis', origin='lower', aspect='auto')
        place.set(title=name, xlabel="teacher's block")
        for axis, number in ((place.xaxis, len(values[0])), (place.yaxis, len(values))):
            ticks = range(0, number, max(1, number // 6))
            axis.set_ticks(list(ticks), [str(tick + 1) for tick in ticks])
        place.grid(visible=False)
    axes[0].set_ylabel("student's block")
    fig.colorbar(image, ax=list(axes), label='CKA')


def _attention_sentence(result: Result) -> str:
    said = []
    for name in methods.ordered(result['networks']):
        found = result['networks'][name]
        means = [_mean(heads) for heads in found['distance']]
        told = ('none' if math.isnan(mean) else f'{mean:.0f}' for mean in (means[0], means[-1]))
        said.append(f'{name} {" to ".join(told)}')
    return f'Mean attention distance in px, first to last block: {", ".join(said)}.'


def _mean(heads: list[float | None]) -> float:
    """Over the heads that look at patches; NaN, which is drawn as a gap, if none does."""
    known = [value for value in heads if value is not None]
    return sum(known) / len(known) if known else math.nan


def _drawn(values: list[float | None]) -> list[float]:
    """What a picture takes: NaN, which is a gap, for no figure."""
    return [math.nan if value is None else value for value in values]


def _draw_attention(fig: Figure, result: Result) -> None:
    left, right = fig.subplots(1, 2)
    for name in methods.ordered(result['networks']):
        found, colour = result['networks'][name], methods.colour(name)
        for place, key in ((left, 'distance'), (right, 'entropy')):
            heads = found[key]
            blocks = range(1, len(heads) + 1)
            place.plot(blocks, [_mean(h) for h in heads], color=colour, label=name)
            for block, values in zip(blocks, heads, strict=True):
                dots = _drawn(values)
                place.plot([block] * len(dots), dots, '.', color=colour, alpha=0.45)
            place.set(xlabel='block', xticks=list(blocks) if len(heads) <= 12 else None)
    teacher = result['networks'].get('teacher')
    if teacher:
        for place, level in ((left, teacher['uniform']), (right, max(teacher['bound']))):
            place.axhline(level, linewidth=0.8, linestyle=':', color='#888888')
    left.set_ylabel('attention distance (px)')
    right.set_ylabel('entropy (nats)')
    left.legend()


def _reconstruction_sentence(result: Result) -> str:
    losses = result['losses']
    return (
        f'Mean squared error on the hidden {100 * result["mask_ratio"]:.0f} % of the patches: '
        f'teacher {losses["teacher"]:.3f}, student through the teacher\'s decoder '
        f'{losses["student"]:.3f}, a grey guess {losses["nothing"]:.3f} ({result["images"]} '
        'images).'
    )


LOOKS = {
    'agreement': Look(
        'Agreement and calibration',
        'Left: how often a student gives the teacher\'s answer. Right: accuracy against '
        'confidence in bins; on the dotted line a network is as often right as it is sure.',
        _agreement_sentence,
        _draw_agreement,
    ),
    'occlusion': Look(
        'Occlusion',
        'Accuracy, and similarity of the feature to that of the whole image, without part of the '
        'patches. Salient: those first that speak most for the teacher\'s answer.',
        _occlusion_sentence,
        _draw_occlusion,
        height=4.6,
    ),
    'corruption': Look(
        'Corrupted images',
        'Accuracy on images that were corrupted on the fly, in five strengths.',
        _corruption_sentence,
        _draw_corruption,
        height=4.2,
    ),
    'cka': Look(
        'Similarity of layers',
        'Linear CKA of the patch tokens after every block of a student and of the teacher: 1 if '
        'one is a rotation of the other, 0 if they have nothing in common.',
        _cka_sentence,
        _draw_cka,
        height=2.8,
    ),
    'attention': Look(
        'Attention',
        'How far, and how widely, patches look: a dot a head, a line through the mean. Small '
        'distances are local, high entropies spread. Dotted: looking at everything alike.',
        _attention_sentence,
        _draw_attention,
    ),
    'reconstruction': Look(
        'Masked reconstructions', '', _reconstruction_sentence
    ),
}
