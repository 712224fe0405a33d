"""``tools/browse_data.py``: look at what a model is fed."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .exit_codes import run_command
from .options import add_options, command_parser

_CROWDED, _WIDE = 6, 960  # objects in a picture, and the side that it is enlarged to, px
_CANDIDATES = 5000  # samples that are asked for their classes

EXAMPLES = """examples:
  python tools/browse_data.py configs/shapes/vitb_cls.py --out-dir look
  python tools/browse_data.py configs/coco/g2sd_vits_maskrcnn.py --number 20 --out-dir look
"""


def parser() -> argparse.ArgumentParser:
    """The command line of ``browse_data``."""
    p = command_parser(
        'Write augmented training images as the model sees them, with their '
        'annotations drawn and their size below: some of all classes and folders.',
        EXAMPLES,
    )
    p.add_argument('config', help='config file')
    p.add_argument('--out-dir', required=True, help='folder for the pictures')
    p.add_argument('--number', type=int, default=16, help='how many images (16)')
    p.add_argument('--epoch', type=int, default=0, help='epoch whose crops are shown (0)')
    p.add_argument('--seed', type=int, default=0, help='seed of the run (0)')
    add_options(p)
    return p


def browse(
    config: str,
    out_dir: str,
    number: int = 16,
    epoch: int = 0,
    seed: int = 0,
    options: dict[str, Any] | None = None,
) -> list[Path]:
    """Draw training samples; the function behind the command.

    Returns:
        the files written.
    """
    import mmcv
    from mmengine.registry import DATASETS, DefaultScope, init_default_scope

    import g2sd_mm

    from ..config.load import load_config
    from ..config.parts import task_of_config
    from ..data_checks.before_training import choose_boxes_or_masks
    from ..datasets import SampleKey, SeededDataset
    from ..errors import UserError
    from ..runs.data import find_data
    from ..tasks.drawing import LEAST_SIDE, draw_sample

    g2sd_mm.register_all()
    cfg = load_config(config, options)
    find_data(cfg, ('train_dataloader',))
    choose_boxes_or_masks(cfg, ('train_dataloader',))  # what is mixed is shown as it is
    task = task_of_config(cfg)
    if task is None:
        raise UserError(f'{config} is of no task: default_scope is {cfg.get("default_scope")}')
    folder = Path(out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    init_default_scope(cfg.default_scope)
    written = []
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        read = cfg.train_dataloader.dataset
        seeded = read.get('type') == 'SeededDataset'  # stock configs have none
        dataset = DATASETS.build(read) if seeded else SeededDataset(read, on_error='raise')
        classes = dataset.metainfo.get('classes') or ()
        for index in _spread(dataset, number):
            item = dataset[SampleKey(index, epoch, seed)]
            sample = item['data_samples']
            crowded = len(sample.get('gt_instances') or ()) > _CROWDED
            several = isinstance(item['inputs'], list)  # views, for contrastive learning
            for view, pixels in enumerate(item['inputs'] if several else [item['inputs']]):
                image = pixels.permute(1, 2, 0).numpy()[..., ::-1]  # loaded as BGR
                if image.dtype.kind != 'u':  # of steps that compute in other numbers
                    image = image.clip(0, 255).astype('uint8')
                drawn = draw_sample(
                    task, image.copy(), sample, classes, truth=True,
                    least_side=_WIDE if crowded else LEAST_SIDE,
                )  # fmt: skip
                height, width = image.shape[:2]
                drawn = _with_caption(drawn, f'{width}x{height} px  {Path(sample.img_path).name}')
                path = folder / (f'{index:04d}_{view}.jpg' if several else f'{index:04d}.jpg')
                mmcv.imwrite(mmcv.rgb2bgr(drawn), str(path))
                written.append(path)
    return written


def _spread(dataset: Any, number: int) -> list[int]:
    """Numbers of samples of all classes and folders, from all over the data."""
    from ..data_checks.overview import spread

    places = range(0, len(dataset), max(1, len(dataset) // _CANDIDATES))
    return [places[i] for i in spread([_groups(dataset, place) for place in places], number)]


def _groups(dataset: Any, place: int) -> set[Any]:
    info = dataset.get_data_info(place)
    classes = {instance['bbox_label'] for instance in info.get('instances') or ()}
    if (labels := info.get('gt_label')) is not None:  # of a picture of several classes, a list
        classes.update(labels if isinstance(labels, (list, tuple)) else [int(labels)])
    return classes or {str(Path(str(info.get('img_path'))).parent)}


def _with_caption(image: Any, text: str) -> Any:
    """The picture with a line below."""
    import numpy as np

    from ..tasks.drawing import write

    strip = np.zeros((18, image.shape[1], 3), image.dtype)
    write(strip, text, (4, 13), (255, 255, 255), outline=False)
    return np.concatenate([image, strip])


def _run(**args: Any) -> None:
    print(f'{len(browse(**args))} images in {args["out_dir"]}')


def main() -> None:
    """Entry point of ``tools/browse_data.py``."""
    run_command(_run, parser().parse_args())
