"""Teachers of features: whole images, prepared anew, answered by a class token and a patch map."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from ...errors import UserError
from ...models.masking import Masking
from ...provenance import file_digest
from .images import (
    Pixels,
    Size,
    on_grid,
    renormalised,
    resized,
    size_for,
    student_pixels,
    student_stride,
)
from .licences import licence_warning
from .protocol import Features, FrozenTeacher

_CLASS_TOKENS = ('own', 'mean', 'none')


class FeatureTeacher(FrozenTeacher):
    """What families of foundation models share: they differ in :meth:`features`.

    Each has the mean, std and order of channels that it was trained with, and gets the student's
    images normalised so, in a size that gives its map the student's grid of patches; where that
    would be twice the student's size or more (or half, or less), it sees the image in the student's
    size, and a map that is smaller than the student's is resized to its grid (bicubic); a larger
    one is for losses to match. A masked student's teacher sees and answers the whole image. Images
    are prepared once a step, in float32, before they get its precision.

    Args:
        model: the network, weights in place.
        pixels: how it wants images.
        stride: pixels from one place of its map to the next.
        step: sizes of its images are multiples of this; the stride unless it is given.
        width: channels of its features.
        cls: the class token of :class:`Features`: the network's ``own``, if it has one; the
            ``mean`` of its patches; or ``none``.
        size: height and width of its images in pixels (one number for both), where they are not to
            follow from the student's.
        compile: run its blocks by ``torch.compile``, where that works.
        name: of the model, for messages.
        dtype: see :class:`FrozenTeacher`.
    """

    sees = 'image'
    prepares_images = True
    files: Sequence[Path] = ()  # of its weights, where they follow from its name

    def __init__(
        self,
        model: nn.Module,
        *,
        pixels: Pixels,
        stride: int,
        width: int,
        name: str,
        step: int | None = None,
        cls: str = 'own',
        size: int | Sequence[int] | None = None,
        compile: bool = False,
        dtype: str = 'float32',
        source: str | None = None,
        licence: str | None = None,
    ) -> None:
        super().__init__(model, dtype)
        if cls not in _CLASS_TOKENS:
            raise UserError(
                f'distillation.teacher.cls={cls!r} is none of {", ".join(_CLASS_TOKENS)}'
            )
        self.pixels, self.stride, self.step = pixels, stride, step or stride
        self.width, self.name, self.cls = width, name, cls
        self.size = _legal(size, self.step)
        self.source, self.licence = source, licence
        self._compile = compile
        self._theirs: Pixels | None = None
        self._their_stride: int | None = None
        if warning := licence_warning(licence):
            print_log(f'teacher {name}: {warning}', logger='current', level=logging.WARNING)

    def about(self) -> dict[str, Any]:
        """Family, model, source, SHA-256 of files that no config names, and licence."""
        files = {file.name: file_digest(file) for file in self.files}
        known = {'model': self.name, 'source': self.source, 'files': files}
        said = {key: value for key, value in known.items() if value}
        return {'type': type(self).__name__, **said, **super().about()}

    def check_student(self, student: nn.Module) -> None:
        """Take down how the student's images are normalised and cut into patches.

        Raises:
            UserError: if nothing says how they are normalised.
        """
        theirs, channels = student_pixels(student), len(self.pixels.mean)
        if len(theirs.mean) not in (1, channels):
            raise UserError(
                f'the teacher {self.name} sees images of {channels} channels, and '
                f'data_preprocessor.mean has {len(theirs.mean)} values'
            )
        if len(theirs.mean) == 1:  # one number for all channels, or grey images
            theirs = Pixels(theirs.mean * channels, theirs.std * channels, theirs.channels)
        self._theirs, self._their_stride = theirs, student_stride(student)

    def features(self, images: Tensor) -> Features:
        """What the network says of images that are normalised and sized for it."""
        raise NotImplementedError

    def answer(self, images: Tensor, view: Masking | None) -> Features:
        """Class token and patch map of images normalised for the student, on its grid or finer."""
        grid = self.student_grid(images)
        cls, patches = self.features(self.prepared(images).to(self.dtype))
        if self.cls == 'mean':
            cls = patches.flatten(1, 2).mean(dim=1)
        elif self.cls == 'none':
            cls = None
        if grid is not None and patches.shape[1] * patches.shape[2] < grid[0] * grid[1]:
            patches = on_grid(patches, grid)
        return Features(cls, patches)

    def prepared(self, images: Tensor) -> Tensor:
        """The student's images [B, 3, height, width] as this network was trained to see them.

        Raises:
            RuntimeError: before :meth:`check_student`.
        """
        if self._theirs is None:
            raise RuntimeError('a teacher of features knows its student: call check_student first')
        if self._compile:
            self._compile_blocks(images.device)
        size = size_for(
            _sides(images), self.student_grid(images), self.stride, self.step, self.size
        )
        return resized(renormalised(images, self._theirs, self.pixels), size)

    def student_grid(self, images: Tensor) -> Size | None:
        """Rows and columns of the student's patches; None of a student without any."""
        if self._their_stride is None:
            return None
        height, width = _sides(images)
        return height // self._their_stride, width // self._their_stride

    def blocks(self) -> Sequence[nn.Module]:
        """What ``compile`` compiles, one by one: blocks that are alike share the result."""
        return ()

    def _compile_blocks(self, device: torch.device) -> None:
        from ...engine.hooks.compile import compile_each, why_not

        self._compile, reason = False, why_not(device.type)
        if reason:
            print_log(f'blocks of {self.name} are not compiled: {reason}', logger='current')
            return
        compile_each(self.blocks())


def take_block(
    block: int | str, last: int, names: Sequence[str], place: str = 'distillation.teacher'
) -> list[int]:
    """Numbers of the blocks whose outputs count, from 0: one, or the ``last`` that end with it.

    Args:
        block: number, from the end if negative, or name.
        last: how many.
        names: of all blocks in order.
        place: of the options, for messages.

    Raises:
        UserError: for a block that the network does not have.
    """
    number = names.index(block) if block in names else block
    if isinstance(number, str) and number.lstrip('-').isdecimal():
        number = int(number)
    if isinstance(number, str) or not -len(names) <= number < len(names):
        raise UserError(
            f'{place}.block={block!r}: its blocks are {names[0]} .. {names[-1]}, or 0 .. '
            f'{len(names) - 1}, or -1 for the last'
        )
    end = number % len(names) + 1
    if not 1 <= last <= end:
        raise UserError(
            f'{place}.mean_of_last={last}: there are {end} blocks up to block={block!r}'
        )
    return list(range(end - last, end))


def mean_features(answers: Sequence[Features]) -> Features:
    """The mean of what several blocks say; of one block, that."""
    if len(answers) == 1:
        return answers[0]
    classes = [answer.cls for answer in answers if answer.cls is not None]
    cls = torch.stack(classes).mean(dim=0) if classes else None
    return Features(cls, torch.stack([answer.patches for answer in answers]).mean(dim=0))


def _sides(images: Tensor) -> Size:
    height, width = images.shape[-2:]
    return height, width


def _legal(size: int | Sequence[int] | None, step: int) -> Size | None:
    if size is None:
        return None
    height, width = (size, size) if isinstance(size, int) else size
    if height % step or width % step or height < step or width < step:
        raise UserError(
            f'distillation.teacher.size={size!r}: heights and widths of this teacher are multiples '
            f'of {step}'
        )
    return height, width
