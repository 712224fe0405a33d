"""A detector's config follows its weights: those of boxes alone have no mask head."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config

from ..checkpoints import read_weights
from ..config.boxes_alone import has_mask_head, leave_mask_head_out, read_boxes_alone

_BOX_HEADS = ('bbox_head', 'box_head')


def fit_to_weights(cfg: Config, checkpoint: str | Path) -> None:
    """Leave the mask head out of a config, in place, if weights of a detector have none.

    Args:
        cfg: loaded config, of any task.
        checkpoint: weights that will fill its student.
    """
    if not has_mask_head(cfg) or not Path(checkpoint).is_file():
        return  # a missing file is named where it is read
    names = read_weights(checkpoint, mmap=True).state
    parts = {part for name in names for part in name.split('.')}
    if parts.intersection(_BOX_HEADS) and 'mask_head' not in parts:
        leave_mask_head_out(cfg)
        read_boxes_alone(cfg)
