"""Predictions of a suite's rows on the same few validation images, beside the annotations."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import mmcv
import numpy as np

from ...data_checks.masks import IGNORED
from ...data_checks.overview import spread
from ...tasks import TASKS, Image, Task
from ...tasks.drawing import class_colour, draw_sample
from ...text import one_line
from .. import methods
from ..analysis.samples import evenly
from ..reports.pictures import CLASSES, COLOURS, COLUMNS, NAMED, RUNS
from .suites import Row, Suite

if TYPE_CHECKING:
    from mmengine.config import Config

_TRIED = 8  # images that are looked at for each that is shown
_QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 85]
# images of the validation set, evenly taken; a class is told in a word and takes less room


def draw_pictures(
    suite: Suite,
    rows: Sequence[Row],
    runs: Path,
    folder: Path,
    say: Callable[[str], None] = print,
) -> None:
    """Write ``folder/<task>/<column>/<number>_<name>.jpg`` for the columns of a report.

    The columns are ``input``, ``truth`` (the annotations), the methods that a report shows, and
    rows that are no method of a suite, as far as they have weights: those of ``rows`` and those
    that were trained before. A method of several students has a column for each.

    Args:
        rows: what was run; the other tasks' pictures stay as they are.
        runs: folder of one seed's runs.
        say: told in a line what could not be drawn, and why; the others are drawn.
    """
    import g2sd_mm

    g2sd_mm.register_all()
    tasks = {row.task for row in rows}
    main = [row for row in suite.rows if row.task in tasks and row.table == 'main']
    shown = [row for row in main if row.method in COLUMNS or _is_own(row)]
    finished = [row for row in shown if (runs / row.step / 'weights.pth').is_file()]
    for task in dict.fromkeys(row.task for row in finished):
        with _told(say, f'of {task}'):
            own = [row for row in finished if row.task == task]
            _draw_task(suite, own, runs, folder / task, say)


def _draw_task(
    suite: Suite, rows: Sequence[Row], runs: Path, folder: Path, say: Callable[[str], None]
) -> None:
    from ...config.load import load_config
    from ...runs.predict import infer

    shutil.rmtree(folder, ignore_errors=True)  # of other images, perhaps
    first = suite.step(rows[0].step)
    cfg = load_config(first.config, first.options, str(runs))
    images = _draw_truth(cfg, folder, TASKS[rows[0].task])
    (folder / RUNS).write_text(f'{runs.name}\n')
    drawn = {name: COLUMNS[name] for name in ('input', 'truth')}
    for name, (title, row) in _columns(rows).items():
        step = suite.step(row.step)
        with _told(say, f'of {row.step}'):
            infer(
                step.config,
                str(runs / row.step / 'weights.pth'),
                images,
                str(folder / name),
                options=step.options,
                legend=False,
                files=False,
            )
            drawn[name] = title
    (folder / NAMED).write_text(json.dumps(drawn, indent=1))


def _columns(rows: Sequence[Row]) -> dict[str, tuple[str, Row]]:
    """Folder -> heading and row, from what knows least to the teacher."""
    several = Counter(row.method for row in rows)
    columns = {}
    for row in sorted(rows, key=_place):
        if _is_own(row):  # whatever its file is called, its folder is like no other
            columns[f'own_{row.step}'] = (methods.method_of(row.method).title, row)
        elif several[row.method] > 1:
            heading = f'{COLUMNS[row.method]}, {row.student}'
            columns[f'{row.method}_{row.student}'] = (heading, row)
        else:
            columns[row.method] = (COLUMNS[row.method], row)
    return columns


def _is_own(row: Row) -> bool:
    return row.method not in methods.METHODS


def _place(row: Row) -> float:
    """Rows that a reader added stand between the suite's students and the teacher."""
    known = list(COLUMNS)
    return known.index('teacher') - 0.5 if _is_own(row) else known.index(row.method)


@contextmanager
def _told(say: Callable[[str], None], what: str) -> Iterator[None]:
    """Pictures are an extra: what was trained and measured does not fail for the want of one."""
    try:
        yield
    except Exception as error:  # of any library, about anybody's images
        say(f'no pictures {what}: {one_line(error)}')


def _draw_truth(cfg: Config, folder: Path, task: Task) -> list[str]:
    """Draw validation images, plain and with annotations; returns the images' paths."""
    from mmengine.registry import DATASETS, DefaultScope, init_default_scope

    init_default_scope(cfg.default_scope)
    images, named, present = [], [], set()
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        dataset_cfg = cfg.val_dataloader.dataset
        dataset_cfg.test_mode = False  # test mode leaves annotations unpacked in some libraries
        dataset_cfg.pop('filter_cfg', None)
        dataset = DATASETS.build(dataset_cfg)
        classes = dataset.metainfo.get('classes') or ()
        for place, i in enumerate(_spread(dataset, task.pictures)):
            path = dataset.get_data_info(i)['img_path']
            image = mmcv.imread(path, channel_order='rgb')
            sample = dataset[i]['data_samples']
            drawn = draw_sample(task, image, sample, classes, truth=True, legend=False)
            name = f'{place:04d}_{Path(path).stem}.jpg'
            _write(folder / 'truth' / name, drawn)
            _write(folder / 'input' / name, cv2.resize(image, drawn.shape[1::-1]))
            images.append(path)
            if 'gt_label' in sample:
                named.append(classes[int(sample.gt_label[0])])
            if 'gt_sem_seg' in sample:
                present |= set(sample.gt_sem_seg.data.unique().tolist())
    if named:
        (folder / 'truth' / CLASSES).write_text('\n'.join(named) + '\n')
    colours = {name: f'rgb{class_colour(label)}' for label, name in enumerate(classes)}
    shown = [name for label, name in enumerate(classes) if label in present]
    if shown:
        content = {'colours': colours, 'present': shown}
        (folder / 'truth' / COLOURS).write_text(json.dumps(content))
    return images


def _spread(dataset: Any, number: int) -> list[int]:
    """Images with as many classes as can be had, of some that are evenly taken; in their order."""
    tried = evenly(len(dataset), _TRIED * number)
    return [tried[i] for i in spread([_classes_in(dataset, i) for i in tried], number)]


def _classes_in(dataset: Any, i: int) -> set[int]:
    """Labels of an image, without reading it where the data set knows them."""
    known = dataset.get_data_info(i)
    if 'gt_label' in known:
        return {int(label) for label in np.atleast_1d(known['gt_label'])}
    if 'instances' in known:
        return {int(each['bbox_label']) for each in known['instances'] if 'bbox_label' in each}
    sample = dataset[i]['data_samples']
    if 'gt_sem_seg' not in sample:
        return set()
    return set(sample.gt_sem_seg.data.unique().tolist()) - {IGNORED}


def _write(path: Path, image: Image) -> None:
    mmcv.imwrite(mmcv.rgb2bgr(image), str(path), _QUALITY)
