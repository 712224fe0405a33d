"""The frozen teacher: built, verified, and asked; never trained, saved or synchronised."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from torch import Tensor, nn

from ..agreement.inputs import channel_order, pipeline_of
from ..checkpoints import CheckpointError, load_verified, read_weights
from ..checkpoints.naming import state_for
from ..config.parts import LOADERS, import_named_libraries, plain_model
from ..config.project import find_config

_DTYPES = ('float32', 'bfloat16', 'float16', 'float64')


class FrozenTeacher:
    """A network that only answers: eval mode, no gradients, its own precision.

    Deliberately not an ``nn.Module``: as a plain attribute of a distiller it is in no state dict,
    no optimizer and no DDP bucket, and ``distiller.train()`` does not reach it.

    Args:
        model: the network, weights in place.
        dtype: precision that it runs in, outside any autocast.
        train_mode: the published detection recipe leaves the teacher's stochastic depth on;
            True reproduces that.
    """

    def __init__(self, model: nn.Module, dtype: str = 'float32', train_mode: bool = False) -> None:
        if dtype not in _DTYPES:
            raise ValueError(f'teacher dtype {dtype!r} is none of {", ".join(_DTYPES)}')
        self.dtype = getattr(torch, dtype)
        self.model = model.requires_grad_(False).to(self.dtype)
        self.model.train(train_mode)
        #: Hears each answer while it is set; nothing is kept here.
        self.listener: Callable[[Any], None] | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenTeacher:
        """Itself: a copy of a distiller (averaged weights) has the same teacher, not a second."""
        return self

    def to(self, device: torch.device) -> None:
        """Move to a device; the precision stays."""
        self.model.to(device)

    @contextmanager
    def answering(self, inputs: Tensor) -> Iterator[Tensor]:
        """No gradients, no autocast; yields ``inputs`` in the teacher's precision."""
        with torch.no_grad(), torch.autocast(inputs.device.type, enabled=False):
            yield inputs.to(self.dtype)

    def tell(self, answer: Any) -> Any:
        """``answer``, which the listener hears if there is one."""
        if self.listener is not None:
            self.listener(answer)
        return answer

    def checksum(self) -> str:
        """Digest of all parameters, for comparing ranks (16 hex digits)."""
        digest = hashlib.sha256()
        for name, tensor in self.model.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.detach().to('cpu', torch.float32).numpy().tobytes())
        return digest.hexdigest()[:16]


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

    def __call__(self, images: Tensor) -> Any:
        """Run the chain on preprocessed images [B, 3, height, width]."""
        with self.answering(images) as x:
            for part in self.forward:
                x = getattr(self.model, part)(x)
            return self.tell(x)


class TeachingModel(BaseModel):
    """Base of the distillers: holds a teacher where torch does not see it."""

    def set_teacher(self, teacher: FrozenTeacher) -> None:
        """Give the distiller its teacher; it follows the distiller between devices."""
        object.__setattr__(self, 'teacher', teacher)

    def _apply(self, fn: Any, *args: Any, **kwargs: Any) -> Any:
        module = super()._apply(fn, *args, **kwargs)
        self.teacher.to(next(self.parameters()).device)
        return module


def build_task_teacher(
    config: str | dict,
    checkpoint: str | None = None,
    forward: Sequence[str] = ('backbone', 'head'),
    dtype: str = 'float32',
    train_mode: bool = False,
    random_weights: bool = False,
    overrides: dict | None = None,
    normalisation: tuple | None = None,
) -> ChainTeacher:
    """Build the teacher of stage 2 from a config of mmpretrain, mmdet or mmseg.

    Args:
        config: config file whose ``model`` is the teacher, or the loaded mapping.
        checkpoint: its weights: a file of the same library, or a published one of the same network.
        forward: the parts to run, in order, see :class:`ChainTeacher`.
        dtype: precision it runs in.
        train_mode: see :class:`FrozenTeacher`.
        random_weights: admit a teacher without weights (speed tests only).
        overrides: entries of its config to change, as ``--cfg-options`` would.
        normalisation: the student's (mean, std, order of channels); the teacher sees the
            student's images, so its own must agree.

    Raises:
        CheckpointError: if no checkpoint was given, or it does not fill every part in ``forward``.
        ValueError: if teacher and student normalise their images differently.
    """
    cfg = Config.fromfile(find_config(config)) if isinstance(config, str) else Config(config)
    cfg.merge_from_dict(overrides or {})
    import_named_libraries(cfg)
    model_cfg = plain_model(cfg)
    _check_normalisation(
        model_cfg.get('data_preprocessor'), normalisation, pipeline_of(cfg, *LOADERS)
    )
    model = MODELS.build(_without_init(model_cfg))
    teacher = ChainTeacher(model, forward, dtype=dtype, train_mode=train_mode)
    name = config if isinstance(config, str) else type(model).__name__
    if checkpoint:
        weights = read_weights(checkpoint, mmap=True)
        state = state_for(weights, teacher.model.state_dict())
        unused = {key.split('.')[0] for key in state} - set(forward)
        load_verified(
            teacher.model,
            state,
            weights,
            purpose=f'teacher {name}',
            may_ignore=[f'{part}.*' for part in unused if part != 'backbone'],
            advice=f'Give a checkpoint that {name} was trained to.',
        )
    elif not random_weights:
        raise CheckpointError(
            f'the teacher {name} has no checkpoint: a teacher with random weights teaches nothing. '
            'Train it with tools/train.py, then pass '
            '--cfg-options distillation.teacher.checkpoint=FILE'
        )
    return teacher


def _without_init(cfg: Any) -> Any:
    """The config without ``init_cfg``: a teacher's weights come from its checkpoint alone."""
    if isinstance(cfg, dict):
        return type(cfg)({k: _without_init(v) for k, v in cfg.items() if k != 'init_cfg'})
    return [_without_init(item) for item in cfg] if isinstance(cfg, list) else cfg


def _check_normalisation(
    preprocessor: dict | None, expected: tuple | None, pipeline: Sequence[Any]
) -> None:
    if preprocessor is None or expected is None:
        return
    own = [list(preprocessor.get(key) or ()) for key in ('mean', 'std')]
    theirs = [list(values) for values in expected[:2]]
    if own == [[], []]:
        return
    if not np.allclose(own, theirs, rtol=1e-4):
        raise ValueError(
            f'teacher and student must normalise images alike: the teacher has mean, std = {own}, '
            f'the student {theirs}'
        )
    order = channel_order(preprocessor, pipeline)
    if order and expected[2:] and order != expected[2]:
        raise ValueError(
            f'teacher and student must see channels in one order: the teacher {order}, the student '
            f'{expected[2]} (to_rgb or bgr_to_rgb of data_preprocessor turns what is read, BGR)'
        )
