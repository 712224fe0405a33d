"""Predictions of a suite's rows on the same few validation images, beside the annotations."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import cv2
import mmcv
import numpy as np

from ..analysis.samples import evenly
from ..reports.draw import draw_sample
from ..reports.pictures import COLUMNS
from .suites import Row, Suite

_QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 85]


def draw_pictures(
    suite: Suite, rows: Sequence[Row], runs: Path, folder: Path, number: int = 4
) -> None:
    """Write ``folder/<task>/<column>/<number>_<name>.jpg`` for the columns of a report.

    The columns are ``input``, ``truth`` (the annotations) and the methods that a report shows.

    Args:
        suite, rows: what was run.
        runs: folder of one seed's runs.
        folder: where the pictures go.
        number: images of the validation set, evenly taken.
    """
    from ..cli.infer import infer
    from ..configuration import load_config

    main = [row for row in rows if row.table == 'main' and row.method in COLUMNS]
    finished = [row for row in main if (runs / row.step / 'weights.pth').is_file()]
    for task in dict.fromkeys(row.task for row in finished):
        own = [row for row in finished if row.task == task]
        first = suite.step(own[0].step)
        cfg = load_config(first.config, first.options, str(runs))
        shutil.rmtree(folder / task, ignore_errors=True)  # of other images, perhaps
        images = _draw_truth(cfg, folder / task, number)
        for row in own:
            step = suite.step(row.step)
            infer(
                step.config,
                str(runs / row.step / 'weights.pth'),
                images,
                str(folder / task / row.method),
                options=step.options,
            )


def _draw_truth(cfg: object, folder: Path, number: int) -> list[str]:
    """Draw validation images, plain and with annotations; returns the images' paths."""
    from mmengine.registry import DATASETS, DefaultScope, init_default_scope

    init_default_scope(cfg.default_scope)
    images = []
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        dataset_cfg = cfg.val_dataloader.dataset
        dataset_cfg.test_mode = False  # test mode leaves annotations unpacked in some libraries
        dataset_cfg.pop('filter_cfg', None)
        dataset = DATASETS.build(dataset_cfg)
        for place, i in enumerate(evenly(len(dataset), number)):
            path = dataset.get_data_info(i)['img_path']
            image = mmcv.imread(path, channel_order='rgb')
            sample = dataset[i]['data_samples']
            drawn = draw_sample(image, sample, dataset.metainfo['classes'], truth=True)
            name = f'{place:04d}_{Path(path).stem}.jpg'
            _write(folder / 'truth' / name, drawn)
            _write(folder / 'input' / name, _as_large(image, drawn))
            images.append(path)
    return images


def _as_large(image: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """The plain image as high as the drawn one, which may be enlarged and have a legend."""
    height = len(drawn)
    width = round(image.shape[1] * height / len(image))
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)


def _write(path: Path, image: np.ndarray) -> None:
    mmcv.imwrite(mmcv.rgb2bgr(image), str(path), _QUALITY)
