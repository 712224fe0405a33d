"""What every teacher is: frozen, verified before the first step, and never trained or saved.

A new family is a file in this folder with a subclass of :class:`FrozenTeacher` that registers
itself in ``MODELS``: it builds its network, refuses a file that does not fill it, and answers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ...models.masking import Masking
from .eight_bits import check_device, use_float8, use_int8

_DTYPES = ('float32', 'bfloat16', 'float16', 'float64')
#: Precision of the products of linear layers -> that of the rest.
_PRODUCTS = {'int8': 'float32', 'float8': 'bfloat16'}


class Features(NamedTuple):
    """What a teacher of features answers.

    cls: [B, C], or None of a network without a class token.
    patches: [B, rows, columns, C]; [B, N, C] if only some patches of a view were computed.
    """

    cls: Tensor | None
    patches: Tensor

    @property
    def tokens(self) -> Tensor:
        """[B, 1 + N, C], class token first and patches in raster order; [B, N, C] without one."""
        patches = self.patches.flatten(1, -2)
        return patches if self.cls is None else torch.cat([self.cls[:, None], patches], dim=1)


class FrozenTeacher:
    """A network that only answers: eval mode, no gradients, its own precision.

    Deliberately not an ``nn.Module``: as a plain attribute of a distiller it is in no state dict,
    no optimizer and no DDP bucket, and ``distiller.train()`` does not reach it.

    Args:
        model: the network, weights in place.
        dtype: precision that it runs in, outside any autocast; ``int8`` is float32 with linear
            layers whose products are of 8-bit integers, on a CPU; ``float8`` is bfloat16 with
            linear layers whose products are of float8 numbers, on a GPU that has them.
        train_mode: the published detection recipe leaves the teacher's stochastic depth on;
            True reproduces that.

    Attributes:
        sees: ``view``: the visible patches of a masked image; ``image``: all of it.
        width: channels C of its features; None if its answers are of another kind.
        source, licence: file or name that its weights come from, and their licence, where known.
        prepares_images: whether it normalises and resizes the student's images for itself.
    """

    sees = 'image'
    prepares_images = False
    width: int | None = None
    source: str | None = None
    licence: str | None = None

    def __init__(self, model: nn.Module, dtype: str = 'float32', train_mode: bool = False) -> None:
        if dtype not in (*_DTYPES, *_PRODUCTS):
            known = ', '.join((*_DTYPES, *_PRODUCTS))
            raise ValueError(f'teacher dtype {dtype!r} is none of {known}')
        self.products = dtype if dtype in _PRODUCTS else None
        self.dtype = getattr(torch, _PRODUCTS.get(dtype, dtype))
        self.train_mode = train_mode
        self.model = self.frozen(model)
        #: Hears each answer while it is set; nothing is kept here.
        self.listener: Callable[[Any], None] | None = None

    def frozen(self, model: nn.Module) -> nn.Module:
        """A network in this teacher's precision and mode, without gradients."""
        if self.products == 'int8':
            use_int8(model)
        elif self.products == 'float8':
            use_float8(model)
        return model.requires_grad_(False).to(self.dtype).train(self.train_mode)

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenTeacher:
        """Itself: a copy of a distiller (averaged weights) has the same teacher, not a second."""
        return self

    def check_student(self, student: nn.Module) -> None:
        """Raise ValueError if this teacher cannot teach ``student``; nothing to refuse here."""

    def about(self) -> dict[str, Any]:
        """What is written down about it beside a student's weights, apart from its file."""
        return {} if self.licence is None else {'licence': self.licence}

    def answer(self, images: Tensor, view: Masking | None) -> Any:
        """:class:`Features`, or what the network of a task computes.

        Args:
            images: [B, 3, height, width], normalised for the student, in this teacher's precision;
                in float32 or wider for one that ``prepares_images``.
            view: which patches are visible; None of a student that sees all.
        """
        raise NotImplementedError

    def __call__(self, images: Tensor, view: Any = None) -> Any:
        """:meth:`answer` without gradients or autocast; the listener hears it if there is one."""
        # who prepares images does so in float32
        wanted = torch.promote_types(images.dtype, torch.float32)
        dtype = wanted if self.prepares_images else self.dtype
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            answer = self.answer(images.to(dtype), view)
        if self.listener is not None:
            self.listener(answer)
        return answer

    def to(self, device: torch.device) -> None:
        """Move to a device; the precision stays.

        Raises:
            UserError: for int8 off the CPU, and for float8 on a GPU that has none.
        """
        check_device(self.products, torch.device(device))
        self.model.to(device)

    def checksum(self) -> str:
        """Digest of all parameters, for comparing ranks (16 hex digits)."""
        digest = hashlib.sha256()
        for name, tensor in self.model.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.detach().to('cpu', torch.float32).numpy().tobytes())
        return digest.hexdigest()[:16]
