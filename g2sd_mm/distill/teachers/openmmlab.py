"""Teachers of OpenMMLab, a config with its checkpoint: task models, and their backbones alone."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from mmengine.registry import MODELS
from torch import Tensor, nn

from ...agreement.inputs import Inputs, inputs_of
from ...agreement.weights import Recorded, check_heads, follow_range, recorded
from ...checkpoints import CheckpointError
from ...checkpoints.fill import fill
from ...config.parts import import_named_libraries, plain_model, teacher_config, without_sources
from ...errors import ConfigError, UserError
from ...models.backbones import G2SDViT
from ...models.masking import Masking
from ..attended import Attended
from .features import FeatureTeacher
from .images import Pixels, student_pixels
from .mae import tokens_features
from .protocol import Features, FrozenTeacher


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
        check_heads(facts, cfg, str(config))
        import_named_libraries(cfg)
        model = MODELS.build(without_sources(plain_model(cfg)))
        super().__init__(model, forward, dtype=dtype, train_mode=train_mode)
        self.source, self.pixels = checkpoint, _pixels(facts.inputs, inputs_of(cfg))
        name = config if isinstance(config, str) else type(model).__name__
        if checkpoint:
            fill(self.model, checkpoint, 'task teacher', name)
        elif not random_weights:
            raise CheckpointError(
                f'the teacher {name} has no checkpoint: a teacher with random weights teaches '
                'nothing. Train it with tools/train.py, then pass '
                '--cfg-options distillation.teacher.checkpoint=FILE'
            )

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


@MODELS.register_module()
class OpenMMLabFeatureTeacher(FeatureTeacher):
    """The backbone of a config of mmpretrain, mmdet or mmseg, with its checkpoint.

    A network that can give its raw tokens (a vision transformer of mmpretrain) answers with class
    token and patches, any other with its last feature map. Images are normalised as the config's
    ``data_preprocessor`` says.

    Args:
        config, checkpoint, random_weights, overrides: as of
            :class:`~g2sd_mm.distill.teachers.openmmlab.OpenMMLabTeacher`; ``overrides`` such as
            ``{'model.backbone.out_indices': [8]}`` take another block.
        licence: of its weights.
        options: ``cls``, ``size``, ``compile`` and ``dtype`` of
            :class:`~g2sd_mm.distill.teachers.features.FeatureTeacher`.

    Raises:
        UserError: if the config says nothing of normalisation, or the backbone gives no map.
        CheckpointError: as of an ``OpenMMLabTeacher``.
    """

    def __init__(
        self,
        config: str | dict,
        checkpoint: str | None = None,
        random_weights: bool = False,
        overrides: dict | None = None,
        licence: str | None = None,
        **options: Any,
    ) -> None:
        task = OpenMMLabTeacher(
            config, checkpoint, forward=('backbone',), random_weights=random_weights,
            overrides=overrides,
        )  # fmt: skip
        network: Any = task.model
        self._backbone: Any = network.backbone
        pixels = task.pixels
        if pixels is None:
            raise UserError(
                'distillation.teacher.config says nothing of how its images are normalised: give '
                'its data_preprocessor a mean and a std'
            )
        stride, width = self._measured(len(pixels.mean), task.dtype)
        super().__init__(
            network,
            pixels=pixels,
            stride=stride,
            width=width,
            name=config if isinstance(config, str) else type(self._backbone).__name__,
            source=checkpoint,
            licence=licence,
            **options,
        )

    def features(self, images: Tensor) -> Features:
        """Class token and patches, or the last feature map."""
        if isinstance(self._backbone, G2SDViT):  # tokens behind its norm, where it has one
            normed = getattr(self._backbone, 'norm', None) is not None
            return tokens_features(self._backbone, images, normed=normed)
        answer = self._backbone(images)
        last = answer[-1] if isinstance(answer, (tuple, list)) else answer
        if isinstance(last, Tensor) and last.ndim == 4:
            return Features(None, last.movedim(1, -1))
        if getattr(self._backbone, 'out_type', '') != 'raw':
            raise UserError(
                f'distillation.teacher: {type(self._backbone).__name__} gives no feature map; '
                'change that with distillation.teacher.overrides'
            )
        rows, columns = (side // self.stride for side in images.shape[-2:])
        patches = last[:, -rows * columns :].unflatten(1, (rows, columns))
        return Features(last[:, 0], patches)

    def _measured(self, channels: int, dtype: torch.dtype) -> tuple[int, int]:
        """Stride [pixels] and width of what the backbone gives, of an image of its own size.

        A vision transformer of mmpretrain gives raw tokens from then on, if it has a class token.
        """
        backbone = self._backbone
        size = getattr(backbone, 'img_size', None) or 224
        height, width = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
        gives_tokens = 'raw' in getattr(backbone, 'OUT_TYPES', ())
        if gives_tokens:
            backbone.out_type = 'featmap'
        with torch.no_grad():
            answer = self.features(torch.zeros(1, channels, height, width, dtype=dtype))
        if gives_tokens and getattr(backbone, 'cls_token', None) is not None:
            backbone.out_type = 'raw'
        return height // answer.patches.shape[1], answer.patches.shape[-1]


def _pixels(known: Inputs, said: Inputs) -> Pixels | None:
    """How images are normalised, by the weights, else the config; None if none says."""
    mean, std = known.mean or said.mean, known.std or said.std
    return Pixels(mean, std, known.channels or said.channels or 'BGR') if mean and std else None
