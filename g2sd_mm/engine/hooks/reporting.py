"""What a run says while it goes: data, image sizes, speed, divergence, and pictures of a test."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import mmcv
import torch
from mmengine.dist import all_gather_object, get_rank, get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor

from ...agreement.inputs import Size, pipeline_of, pixels, read_size, reading
from ...config.load import image_channels
from ...config.parts import task_of_config
from ...errors import DataError
from ...students.images import FileReader
from ...tasks.drawing import draw_sample
from ...text import one_line
from ..position import images_of_iteration
from .access import bare_model
from .console import LAST_PREDICTIONS


@HOOKS.register_module()
class SampleErrorHook(Hook):
    """Logs each unreadable training sample once, with the count, and gives up above a limit.

    The data set wrapper replaces such a sample by another (see
    :class:`~g2sd_mm.datasets.seeded.SeededDataset`); this hook hears of it in the main process.

    Args:
        limit: distinct unreadable samples of this rank after which training stops.
    """

    def __init__(self, limit: int = 100) -> None:
        self.limit = limit
        self.seen: set[str] = set()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Look through the batch for replaced samples."""
        samples = data_batch.get('data_samples') if isinstance(data_batch, dict) else None
        for sample in samples or ():
            for problem in getattr(sample, 'unreadable', ()):
                if problem not in self.seen:
                    self.seen.add(problem)
                    runner.logger.warning('sample skipped (%d so far): %s', len(self.seen), problem)
        if len(self.seen) > self.limit:
            raise DataError(
                f'{len(self.seen)} training samples could not be read, more than the limit of '
                f'{self.limit}: mend the data set (tools/check_data.py says what is wrong), '
                'or raise SampleErrorHook.limit'
            )

    def after_train(self, runner: Runner) -> None:
        """One line with the total over all ranks, if there was any."""
        total = len(set().union(*all_gather_object(self.seen)))
        if total:
            runner.logger.warning('%d training sample(s) were unreadable and skipped', total)


@HOOKS.register_module()
class ThroughputHook(Hook):
    """Adds the scalar ``images_per_second``: of all processes, reading included.

    It needs the ``IterTimerHook``, which measures.

    Args:
        window: steps whose mean time counts.
    """

    priority = 'NORMAL'  # behind the timer, which is one of the default hooks; before the logger

    def __init__(self, window: int = 50) -> None:
        self.window = window

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Write the figure where the logger finds it."""
        hub = runner.message_hub
        if 'train/time' not in hub.log_scalars:
            return
        seconds = hub.get_scalar('train/time').mean(self.window)
        images = images_of_iteration(runner.train_dataloader) * get_world_size()
        hub.update_scalar('train/images_per_second', images / max(float(seconds), 1e-9))


@HOOKS.register_module()
class DivergenceHook(Hook):
    """Warns once when the loss stays above a multiple of its running median, or is nothing but 0.

    The run goes on: some recover. The next warning comes after the loss was below the limit again.

    Args:
        factor: times the median.
        patience: steps in a row.
        window: steps that the median is taken of; there is no limit before half of them were seen.
    """

    def __init__(self, factor: float = 5.0, patience: int = 20, window: int = 200) -> None:
        if window < 2 * patience:
            raise ValueError(
                f'a window of {window} steps is too short for a patience of {patience}: the '
                'median itself would follow the loss; take at least twice as many'
            )
        self.factor, self.patience = factor, patience
        self._losses: deque[float] = deque(maxlen=window)
        self._enough = window // 2
        self._unseen: list[tuple[int, Tensor]] = []
        self._above = 0

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Compare this step's loss to those before it; on a GPU some steps at once."""
        loss = (outputs or {}).get('loss')
        if not isinstance(loss, Tensor):
            return
        self._unseen.append((runner.iter + 1, loss.detach()))
        if loss.device.type == 'cpu' or len(self._unseen) == self.patience:
            values = torch.stack([value for _, value in self._unseen]).tolist()
            for (step, _), value in zip(self._unseen, values, strict=True):
                self._compare(runner, step, value)
            self._unseen.clear()

    def _compare(self, runner: Runner, step: int, loss: float) -> None:
        seen = self._losses
        if len(seen) >= self._enough:
            usual = median(seen)
            self._above = self._above + 1 if loss > self.factor * usual else 0
            if self._above == self.patience:
                runner.logger.warning(
                    'the loss diverges: %.4g at step %d, above %g x its running median of %.4g '
                    'for %d steps; a lower learning rate or a longer warm-up may help',
                    loss, step, self.factor, usual, self.patience,
                )
        seen.append(loss)
        if len(seen) == self.patience and not any(seen):
            runner.logger.warning(
                'the loss is 0 in all of %d steps: nothing is trained; one loss at least needs a '
                'loss_weight above 0', self.patience,
            )


@HOOKS.register_module()
class AgreementHook(Hook):
    """Warns of what was found before, and looks at the first batch of training, validation, test.

    Crops leave an image that is smaller than they are as small as it is; so the size of the images
    is known when they are there. Batches of images of several sizes (detection, segmentation) are
    not asked.

    Args:
        notes: lines for the log.
        size: height and width of the images that the weights under test, or those of the checkpoint
            that a run goes on from, were trained on.

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

    def _before_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, mode: str = 'train'
    ) -> None:
        # of training, validation and test
        if mode not in self.seen:
            self._look(runner, mode, data_batch)
            self.trained = self.seen.get('train', self.trained)

    def _look(self, runner: Runner, mode: str, batch: Any) -> None:
        images = batch.get('inputs') if isinstance(batch, dict) else None
        if isinstance(images, list) and runner.cfg.get('default_scope') == 'mmpretrain':
            # its own configs leave it to the preprocessor to stack them
            shapes = {getattr(image, 'shape', None) for image in images}
            images = images[0][None] if len(shapes) == 1 and None not in shapes else None
        if not isinstance(images, Tensor) or images.ndim != 4:
            return
        size = self.seen[mode] = (images.shape[2], images.shape[3])
        laid_out = _laid_out(bare_model(runner))
        if mode == 'train' and laid_out and size != laid_out:
            runner.logger.warning(
                'the network is laid out for images of %s and is trained on %s: set img_size, or '
                'resize the images before they are cropped', pixels(laid_out), pixels(size),
            )
        if mode != 'train' and self.trained and size != self.trained:
            runner.logger.warning(
                'the network was trained on images of %s and %s images are %s',
                pixels(self.trained), {'val': 'validation'}.get(mode, mode), pixels(size),
            )


def seen_size(runner: Runner) -> Size | None:
    """Height and width of the images that a run has trained on; if there were none, validated."""
    hooks = getattr(runner, 'hooks', ())  # of somebody's own runner, there may be none
    hook = next((hook for hook in hooks if isinstance(hook, AgreementHook)), AgreementHook())
    return hook.trained or hook.seen.get('val')


def _laid_out(model: Any) -> Size | None:
    model = getattr(model, 'student', model)
    return read_size(getattr(getattr(model, 'backbone', None), 'img_size', None))


@HOOKS.register_module()
class DrawPredictionsHook(Hook):
    """Writes ``<number>_<image name>.jpg`` with the predictions of every test image, any task.

    As ``predict`` names them: numbers tell images of one name apart, those of all processes.

    Args:
        folder: where the pictures go.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self._number = 0  # of pictures, of this process

    def draw(self, runner: Runner, loader: str, samples: Sequence[Any]) -> None:
        """Draw predictions on the images of a loader."""
        self.folder.mkdir(parents=True, exist_ok=True)
        task = task_of_config(runner.cfg)
        if task is None:
            return
        dataset = getattr(runner, loader).dataset
        classes = dataset.metainfo.get('classes') or ()
        read, _ = reading(pipeline_of(runner.cfg, loader))
        reader = FileReader(read, image_channels(runner.cfg.model), task.scope)
        for sample in samples:
            number = self._number * get_world_size() + get_rank()
            self._number += 1
            if number < len(dataset):  # samplers repeat some so that all processes have as many
                drawn = draw_sample(task, reader.picture(sample.img_path), sample, classes)
                name = f'{number:04d}_{Path(sample.img_path).stem}.jpg'
                mmcv.imwrite(mmcv.rgb2bgr(drawn), str(self.folder / name))

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Draw the batch that was just predicted."""
        self.draw(runner, 'test_dataloader', outputs or ())


@HOOKS.register_module()
class LastPredictionsHook(DrawPredictionsHook):
    """Keeps drawn predictions of the last validation in the work dir.

    Args:
        number: images, the first ones.
    """

    def __init__(self, number: int = 4) -> None:
        super().__init__(LAST_PREDICTIONS)
        self.number = number
        self._left = 0

    def before_val_epoch(self, runner: Runner) -> None:
        """Begin anew."""
        self.folder = Path(runner.work_dir) / LAST_PREDICTIONS
        self._number = 0
        # what checks a run before its first step predicts with a network that has learnt nothing
        self._left = self.number if runner.iter and is_main_process() else 0

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Draw the first images."""
        samples = list(outputs or ())[: self._left]
        self._left -= len(samples)
        if not samples:
            return
        try:
            self.draw(runner, 'val_dataloader', samples)
        except Exception as error:  # pictures are an extra, of anybody's images
            self._left = 0
            runner.logger.info('no pictures of predictions: %s', one_line(error))
