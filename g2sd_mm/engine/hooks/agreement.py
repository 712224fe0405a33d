"""What config, weights and data were found to disagree in, and the size that images really have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor

from .access import bare_model

Size = tuple[int, int]


@HOOKS.register_module()
class AgreementHook(Hook):
    """Says the notes once, and looks at the first batch of training, validation and test.

    Crops leave an image that is smaller than they are as small as it is; so the size of the images
    is known when they are there. Batches of images of several sizes (detection, segmentation) are
    not asked.

    Args:
        notes: lines for the log.
        size: height and width of the images that the weights under test were trained on.

    Attributes:
        seen: height and width by ``train``, ``val``, ``test``.
    """

    def __init__(self, notes: Sequence[str] = (), size: Sequence[int] | None = None) -> None:
        self.notes = tuple(notes)
        self.trained: Size | None = (size[0], size[1]) if size else None
        self.seen: dict[str, Size] = {}

    def before_run(self, runner: Runner) -> None:
        """Log the notes."""
        for note in self.notes:
            runner.logger.warning(note)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Look at the first training images."""
        if 'train' not in self.seen:
            self._look(runner, 'train', data_batch)
            self.trained = self.seen.get('train')

    def before_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Look at the first validation images."""
        if 'val' not in self.seen:
            self._look(runner, 'val', data_batch)

    def before_test_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Look at the first test images."""
        if 'test' not in self.seen:
            self._look(runner, 'test', data_batch)

    def _look(self, runner: Runner, mode: str, batch: Any) -> None:
        images = batch.get('inputs') if isinstance(batch, dict) else None
        if not isinstance(images, Tensor) or images.ndim != 4:
            return
        size = self.seen[mode] = (images.shape[2], images.shape[3])
        laid_out = _laid_out(bare_model(runner))
        if mode == 'train' and laid_out and size != laid_out:
            runner.logger.warning(
                'the network is laid out for images of %s and is trained on %s: set img_size, or '
                'resize the images before they are cropped', _pixels(laid_out), _pixels(size),
            )
        if mode != 'train' and self.trained and size != self.trained:
            runner.logger.warning(
                'the network was trained on images of %s and %s images are %s',
                _pixels(self.trained), {'val': 'validation'}.get(mode, mode), _pixels(size),
            )


def seen_size(runner: Runner) -> Size | None:
    """Height and width of the images that a run has trained or, before, validated on."""
    for hook in getattr(runner, 'hooks', ()):  # of somebody's own runner, there may be none
        if isinstance(hook, AgreementHook):
            return hook.seen.get('train') or hook.seen.get('val') or hook.trained
    return None


def _laid_out(model: Any) -> Size | None:
    model = getattr(model, 'student', model)
    size = getattr(getattr(model, 'backbone', None), 'img_size', None)
    if isinstance(size, int):
        return size, size
    return (size[0], size[1]) if isinstance(size, (tuple, list)) and len(size) == 2 else None


def _pixels(size: Size) -> str:
    return f'{size[1]}x{size[0]} px'
