"""Teachers of tasks: a config of mmpretrain, mmdet or mmseg with its checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from mmengine.logging import print_log
from mmengine.registry import MODELS
from torch import Tensor, nn

from ...agreement.inputs import channel_order, pipeline_of
from ...agreement.weights import Recorded, follow_range, recorded
from ...checkpoints import CheckpointError
from ...checkpoints.fill import fill
from ...config.parts import (
    LOADERS,
    import_named_libraries,
    plain_model,
    teacher_config,
    without_sources,
)
from ...errors import ConfigError, UserError
from ...models.masking import Masking
from ..attended import Attended
from .images import Pixels, student_pixels
from .protocol import FrozenTeacher


class ChainTeacher(FrozenTeacher):
    """A task model of which only some parts are run, one after the other.

    ``forward=('backbone', 'neck', 'rpn_head')`` computes ``rpn_head(neck(backbone(images)))``: no
    losses, proposals or auxiliary heads. The parts that are not named are dropped from memory.
    """

    def __init__(self, model: nn.Module, forward: Sequence[str], **kwargs: Any) -> None:
        parts = dict(model.named_children())
        unknown = [part for part in forward if part not in parts]
        if unknown or not forward:
            raise ValueError(
                f'teacher forward={tuple(forward)} names {unknown or "nothing"}: '
                f'{type(model).__name__} has {", ".join(parts)}'
            )
        for name in parts:
            if name not in forward:
                setattr(model, name, None)
        super().__init__(model, **kwargs)
        self.forward = tuple(forward)

    def answer(self, images: Tensor, view: Masking | Attended | None) -> Any:
        """Run the chain on preprocessed images [B, 3, height, width], or on patches of them.

        Raises:
            ConfigError: for a part that cannot run in a chain.
        """
        x: Any = images
        shown = (view.keep,) if isinstance(view, Attended) else ()
        for part in self.forward:
            module = getattr(self.model, part)
            try:
                x = module(x, *shown)
            except TypeError as error:
                if 'required positional argument' not in str(error):
                    raise
                raise ConfigError(
                    f'teacher forward={self.forward}: {part} ({type(module).__name__}) needs more '
                    f'than the output of the part before it ({error}): end forward before {part}'
                ) from error
            shown = ()
        return x


@MODELS.register_module()
class OpenMMLabTeacher(ChainTeacher):
    """The type of a teacher that names none.

    Args:
        config: config file whose ``model`` is the teacher, or the loaded mapping.
        checkpoint: its weights: a file of the same library, or a published one of the same network.
        forward: the parts to run, in order, see :class:`ChainTeacher`.
        dtype, train_mode: see :class:`~g2sd_mm.distill.teachers.protocol.FrozenTeacher`.
        random_weights: admit a teacher without weights (speed tests only).
        overrides: entries of its config to change, as ``--cfg-options`` would.

    Raises:
        CheckpointError: if no checkpoint was given, or it does not fill every part in ``forward``.
    """

    def __init__(
        self,
        config: str | dict,
        checkpoint: str | None = None,
        forward: Sequence[str] = ('backbone', 'head'),
        dtype: str = 'float32',
        train_mode: bool = False,
        random_weights: bool = False,
        overrides: dict | None = None,
    ) -> None:
        cfg = teacher_config(config, overrides)
        # of data of one's own it is not what the config says
        facts = recorded(checkpoint) if checkpoint else Recorded()
        follow_range(cfg, facts.depth, facts.source, str(config))
        self._trained = facts.inputs
        import_named_libraries(cfg)
        model_cfg = plain_model(cfg)
        self._preprocessor = model_cfg.get('data_preprocessor')
        self._pipeline = pipeline_of(cfg, *LOADERS)
        model = MODELS.build(without_sources(model_cfg))
        super().__init__(model, forward, dtype=dtype, train_mode=train_mode)
        self.source = checkpoint
        name = config if isinstance(config, str) else type(model).__name__
        if checkpoint:
            fill(self.model, checkpoint, 'task teacher', name)
        elif not random_weights:
            raise CheckpointError(
                f'the teacher {name} has no checkpoint: a teacher with random weights teaches '
                'nothing. Train it with tools/train.py, then pass '
                '--cfg-options distillation.teacher.checkpoint=FILE'
            )

    @property
    def pixels(self) -> Pixels | None:
        """How its images are normalised, by its weights, else its config; None if none says."""
        known, said = self._trained, self._preprocessor or {}
        mean, std = known.mean or said.get('mean'), known.std or said.get('std')
        channels = known.channels or channel_order(said, self._pipeline)
        return Pixels(tuple(mean), tuple(std), channels or 'BGR') if mean and std else None

    def check_student(self, student: nn.Module) -> None:
        """Both see the same images: raise ValueError if they normalise or order them otherwise."""
        own, theirs = self.pixels, None
        with suppress(UserError):  # of one that normalises nothing
            theirs = student_pixels(student)
        if own is None:
            return
        numbers = [list(own.mean), list(own.std)]
        if theirs is None:
            print_log(
                f'the teacher was trained on images of mean, std = {numbers}, and the '
                "student's data_preprocessor normalises none: the teacher sees images as the "
                'pipeline leaves them. If that normalises nothing, give the student the '
                "teacher's mean and std",
                logger='current',
                level=logging.WARNING,
            )
            return
        if not np.allclose(numbers, [theirs.mean, theirs.std], rtol=1e-4):
            raise ValueError(
                f'teacher and student must normalise images alike: the teacher has mean, std = '
                f'{numbers}, the student {[list(theirs.mean), list(theirs.std)]}'
            )
        if len(own.mean) == 3 and own.channels != theirs.channels:
            raise ValueError(
                f'teacher and student must see channels in one order: the teacher {own.channels}, '
                f'the student {theirs.channels} (to_rgb or bgr_to_rgb of data_preprocessor turns '
                'what is read, BGR)'
            )
