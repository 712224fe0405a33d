"""Nearest neighbours while stage 1 runs: does the student learn to see, before any fine-tuning?"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import EpochBasedTrainLoop, Runner

from ..agreement.inputs import inputs_of
from ..distill.teachers.mae import tokens_features
from ..engine.hooks.access import bare_model
from ..engine.undisturbed import undisturbed
from ..errors import UserError
from ..models.vit import VisionTransformer
from .data import Data, find_images
from .encoders import Encoder
from .extract import computed
from .measures import k_nearest


@HOOKS.register_module()
class OnlineKNNHook(Hook):
    """Every few epochs, and before the first: k-NN accuracy of the student's features, all patches
    seen. The figures go to the log and, as ``knn/cls_top1`` and ``knn/mean_top1``, to the scalars.

    Training does not notice: no random number is drawn, and no state of the network changes.

    Args:
        data: folder with class folders in ``train`` and ``val``, or a config with labels.
        interval: epochs; of a run that is counted in iterations, iterations.
        train_images, val_images: the first so many of each class.
        size: side of the images in pixels; None: that of the student.
        k, temperature: of the neighbours; there cannot be more than training images.
        crop_share: of the shorter side that the middle square has.
    """

    priority = 'LOW'  # the epoch is over, and its losses are logged

    def __init__(
        self,
        data: str,
        interval: int = 10,
        train_images: int = 20,
        val_images: int = 5,
        size: int | None = None,
        k: int = 20,
        temperature: float = 0.07,
        crop_share: float = 0.875,
    ) -> None:
        numbers = dict(interval=interval, train_images=train_images, val_images=val_images, k=k)
        for name, number in numbers.items():
            if not isinstance(number, int) or number < 1:
                raise UserError(f'online_knn.{name}={number!r} is no number from 1')
        self.interval, self.size, self.crop_share = interval, size, crop_share
        self.k, self.temperature = k, temperature
        found = find_images(data)
        if found.dense:
            raise UserError(f'online_knn.data={data}: neighbours are asked for classes, not masks')
        self.data = Data(
            found.train.first(train_images), found.val.first(val_images), found.classes
        )
        self._by_epoch = True

    def before_train(self, runner: Runner) -> None:
        """Look at a network that has learnt nothing yet, unless the run goes on."""
        self._by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
        _student(runner)
        if runner.iter == 0:
            self._look(runner, 0)

    def after_train_epoch(self, runner: Runner) -> None:
        """At the end of every interval, and of the run."""
        done = runner.epoch + 1
        if self._by_epoch and (done % self.interval == 0 or done == runner.max_epochs):
            self._look(runner, done)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """The same in runs that have no epochs."""
        done = runner.iter + 1
        if not self._by_epoch and (done % self.interval == 0 or done == runner.max_iters):
            self._look(runner, done)

    def _look(self, runner: Runner, done: int) -> None:
        if not is_main_process():
            return
        model = bare_model(runner)
        with undisturbed(model):
            x, y = self._features(runner)
        what = 'epoch' if self._by_epoch else 'iteration'
        tops = {}
        for token in ('cls', 'mean'):
            tops[f'knn/{token}_top1'] = k_nearest(
                x[token], x['labels'], y[token], y['labels'], self.k, self.temperature,
                centred='train', classes=len(self.data.classes),
            )['top1']  # fmt: skip
        runner.logger.info(
            f'k-NN of frozen features after {what} {done}: '
            + ', '.join(f'{name} {value:.2f} %' for name, value in tops.items())
            + f' (chance {100 / len(self.data.classes):.2f} %)'
        )
        runner.visualizer.add_scalars(tops, step=done)

    def _features(self, runner: Runner) -> list[dict[str, torch.Tensor]]:
        student, inputs = _student(runner), inputs_of(runner.cfg)
        side = student.img_size if isinstance(student.img_size, int) else min(student.img_size)
        device = student.pos_embed.device
        encoder = Encoder(
            'the student', '', {}, inputs.channels or 'BGR', inputs.mean or (0.0, 0.0, 0.0),
            inputs.std or (1.0, 1.0, 1.0), -1, True, partial(tokens_features, student), student,
        )  # fmt: skip
        parts = (self.data.train, self.data.val)
        found = (computed(encoder, p, self.size or side, self.crop_share, device) for p in parts)
        return [{name: column.to(device) for name, column in one.items()} for one in found]


def _student(runner: Runner) -> Any:
    model: Any = bare_model(runner)
    places = (getattr(model, 'student', None), getattr(model, 'autoencoder', None), model)
    student = next((place for place in places if isinstance(place, VisionTransformer)), None)
    if student is None or not hasattr(student, 'norm'):
        raise UserError(
            'online_knn looks at the student of stage 1 (or of pre-training); of this config it is '
            f'a {type(getattr(model, "student", model)).__name__}: take online_knn out'
        )
    return student


def data_beside(cfg: Any) -> str:
    """The folder with ``train`` and ``val`` that the training images of a config lie in.

    Raises:
        UserError: if there is none.
    """
    from ..config.parts import innermost_dataset

    dataset = innermost_dataset(cfg.train_dataloader.dataset)
    prefix = dataset.get('data_prefix') or ''
    inside = prefix if isinstance(prefix, str) else prefix.get('img_path', '')
    train = Path(str(dataset.get('data_root') or '')) / inside
    if train.name == 'train' and (train.parent / 'val').is_dir():
        return str(train.parent)
    raise UserError(
        f'online_knn needs labels, and there is no val folder beside {train}: give '
        '--cfg-options online_knn.data=DIR with class folders in train and val'
    )
