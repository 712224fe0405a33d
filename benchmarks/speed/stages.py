"""What is timed: the training stages, at full size as configured or at the size of a test."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

#: The checkout.
ROOT = Path(__file__).resolve().parents[2]
SIZES = ('full', 'toy')


@dataclass(frozen=True)
class Stage:
    """One training stage.

    Attributes:
        name: what the command line calls it.
        task: ``generic``, ``cls``, ``det`` or ``seg``.
        config: config file, from the project's root.
        side: of the square input in pixels.
        batch: images a step on a CPU.
        gpu_batch: images a step on a GPU.
        options: config entries that are changed: dotted key -> value.
    """

    name: str
    task: str
    config: str
    side: int
    batch: int
    gpu_batch: int
    options: dict[str, Any] = field(default_factory=dict, hash=False)

    def side_at(self, size: str) -> int:
        """Side of the input at a size of :data:`SIZES`."""
        return self.side if size == 'full' else TOY_SIDES[self.task]


STAGES = {
    stage.name: stage
    for stage in (
        Stage('generic_vits', 'generic', 'configs/imagenet/g2sd_vits_generic.py', 224, 16, 256),
        Stage('generic_vitt', 'generic', 'configs/imagenet/g2sd_vitt_generic.py', 224, 16, 256),
        Stage('cls_vits', 'cls', 'configs/imagenet/g2sd_vits_cls.py', 224, 16, 256),
        Stage('det_vits', 'det', 'configs/coco/g2sd_vits_maskrcnn.py', 1024, 1, 8),
        Stage('seg_vits', 'seg', 'configs/ade20k/g2sd_vits_upernet.py', 512, 2, 16),
    )
}

def at_side(stage: Stage, side: int) -> Stage:
    """A stage on square images of another side, a multiple of its patch size."""
    options = {**stage.options, 'model.backbone.img_size': side}
    if stage.task == 'det':
        options['model.data_preprocessor.pad_size_divisor'] = side
    if stage.task == 'seg':
        options['model.data_preprocessor.size'] = (side, side)
    return replace(stage, name=f'{stage.name} {side} px', side=side, options=options)


#: What ``--quick`` measures in two minutes: fewer, or smaller, images a step.
QUICK = {
    'generic_vits': replace(STAGES['generic_vits'], batch=4, gpu_batch=4),
    'cls_vits': replace(STAGES['cls_vits'], batch=4, gpu_batch=4),
    'det_vits': at_side(STAGES['det_vits'], 224),
    'seg_vits': at_side(STAGES['seg_vits'], 128),
}

#: All that figures can be of, by the names in them.
MEASURED = {stage.name: stage for stage in (*STAGES.values(), *QUICK.values())}

#: Side of a task's square input at full size, in pixels.
SIDES = {stage.task: stage.side for stage in STAGES.values()}

#: 4 x 4 patches; for a detector 8 x 8, so that there are windows and a border to pad
TOY_SIDES = {'generic': 64, 'cls': 64, 'det': 128, 'seg': 64}
