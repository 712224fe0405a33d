"""Predictions of a suite's rows on the same few validation images, beside the annotations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .suites import Row, Suite

if TYPE_CHECKING:
    from mmengine.config import Config

TRUTH = 'truth'
_TASKS = ('det', 'seg')  # a class name needs no picture


def draw_pictures(
    suite: Suite, rows: Sequence[Row], runs: Path, folder: Path, number: int = 4
) -> None:
    """Write ``folder/<task>/<method>/<number>_<name>.jpg`` for detection and segmentation rows.

    Args:
        suite, rows: what was run.
        runs: folder of one seed's runs.
        folder: where the pictures go.
        number: images of the validation set, from its start.
    """
    from ..cli.infer import infer
    from ..configuration import load_config

    for task in dict.fromkeys(row.task for row in rows if row.task in _TASKS):
        finished = [
            row for row in rows if row.task == task and (runs / row.step / 'weights.pth').is_file()
        ]
        if not finished:
            continue
        first = suite.step(finished[0].step)
        images = _draw_truth(
            load_config(first.config, first.options, str(runs)), folder / task / TRUTH, number
        )
        for row in finished:
            step = suite.step(row.step)
            infer(
                step.config,
                str(runs / row.step / 'weights.pth'),
                images,
                str(folder / task / row.method),
                options=step.options,
            )


def _draw_truth(cfg: Config, folder: Path, number: int) -> list[str]:
    """Draw annotations of the first validation images; returns the images' paths."""
    import mmcv
    from mmengine.registry import DATASETS, DefaultScope, init_default_scope

    from ..reports.draw import draw_sample

    folder.mkdir(parents=True, exist_ok=True)
    init_default_scope(cfg.default_scope)
    images = []
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        dataset_cfg = cfg.val_dataloader.dataset
        dataset_cfg.test_mode = False  # test mode leaves annotations unpacked in some libraries
        dataset_cfg.pop('filter_cfg', None)
        dataset = DATASETS.build(dataset_cfg)
        for i in range(min(number, len(dataset))):
            path = dataset.get_data_info(i)['img_path']
            image = mmcv.imread(path, channel_order='rgb')
            sample = dataset[i]['data_samples']
            drawn = draw_sample(image, sample, dataset.metainfo['classes'], truth=True)
            mmcv.imwrite(mmcv.rgb2bgr(drawn), str(folder / f'{i:04d}_{Path(path).stem}.jpg'))
            images.append(path)
    return images
