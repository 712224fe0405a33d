"""Predictions of a suite's rows on the same few validation images, beside the annotations."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import mmcv

from ..analysis.samples import evenly
from ..reports.draw import Image, class_colour, draw_sample
from ..reports.pictures import CLASSES, COLOURS, COLUMNS, RUNS
from .suites import Row, Suite

if TYPE_CHECKING:
    from mmengine.config import Config

_QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 85]
# images of the validation set, evenly taken; a class is told in a word and takes less room
_NUMBER = {'cls': 8, 'det': 4, 'seg': 4}


def draw_pictures(suite: Suite, rows: Sequence[Row], runs: Path, folder: Path) -> None:
    """Write ``folder/<task>/<column>/<number>_<name>.jpg`` for the columns of a report.

    The columns are ``input``, ``truth`` (the annotations) and the methods that a report shows, as
    far as they have weights: those of ``rows`` and those that were trained before.

    Args:
        suite: whose main rows may be shown.
        rows: what was run; the other tasks' pictures stay as they are.
        runs: folder of one seed's runs.
        folder: where the pictures go.
    """
    from ..cli.infer import infer
    from ..configuration import load_config

    tasks = {row.task for row in rows}
    shown = [row for row in suite.rows if row.task in tasks and row.method in COLUMNS]
    main = [row for row in shown if row.table == 'main']
    finished = [row for row in main if (runs / row.step / 'weights.pth').is_file()]
    for task in dict.fromkeys(row.task for row in finished):
        own = [row for row in finished if row.task == task]
        shutil.rmtree(folder / task, ignore_errors=True)  # of other images, perhaps
        first = suite.step(own[0].step)
        cfg = load_config(first.config, first.options, str(runs))
        images = _draw_truth(cfg, folder / task, _NUMBER[task])
        (folder / task / RUNS).write_text(f'{runs.name}\n')
        for row in own:
            step = suite.step(row.step)
            infer(
                step.config,
                str(runs / row.step / 'weights.pth'),
                images,
                str(folder / task / row.method),
                options=step.options,
                legend=False,
            )


def _draw_truth(cfg: Config, folder: Path, number: int) -> list[str]:
    """Draw validation images, plain and with annotations; returns the images' paths."""
    from mmengine.registry import DATASETS, DefaultScope, init_default_scope

    init_default_scope(cfg.default_scope)
    images, named, present = [], [], set()
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        dataset_cfg = cfg.val_dataloader.dataset
        dataset_cfg.test_mode = False  # test mode leaves annotations unpacked in some libraries
        dataset_cfg.pop('filter_cfg', None)
        dataset = DATASETS.build(dataset_cfg)
        classes = dataset.metainfo['classes']
        for place, i in enumerate(evenly(len(dataset), number)):
            path = dataset.get_data_info(i)['img_path']
            image = mmcv.imread(path, channel_order='rgb')
            sample = dataset[i]['data_samples']
            drawn = draw_sample(image, sample, classes, truth=True, legend=False)
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


def _write(path: Path, image: Image) -> None:
    mmcv.imwrite(mmcv.rgb2bgr(image), str(path), _QUALITY)
