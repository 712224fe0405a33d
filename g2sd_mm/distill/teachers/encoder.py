"""A ViT encoder of this project, or one that can be converted to it, on whole images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mmengine.registry import MODELS
from torch import Tensor

from ...checkpoints import CheckpointError
from ...checkpoints.fill import fill
from ...models.backbones import G2SDViT
from ...models.masking import Masking
from .protocol import Features, FrozenTeacher


@MODELS.register_module()
class EncoderTeacher(FrozenTeacher):
    """The encoder of a masked autoencoder, or of a stage-1 student, that sees all patches.

    It teaches students that cannot be masked, and takes images of any size that its patches divide:
    its positions are resized.

    Args:
        arch, img_size, patch_size, in_channels: of the :class:`~g2sd_mm.models.backbones.G2SDViT`.
        checkpoint: any file with an encoder of that size.
        dtype: precision that it runs in.
        random_weights: admit a teacher without a file, for speed tests.

    Raises:
        CheckpointError: if the file has no such encoder, or none was given.
    """

    model: G2SDViT

    def __init__(
        self,
        arch: str | Mapping = 'base',
        img_size: int | Sequence[int] = 224,
        patch_size: int | None = None,
        in_channels: int = 3,
        checkpoint: str | None = None,
        dtype: str = 'float32',
        random_weights: bool = False,
    ) -> None:
        model = G2SDViT(arch, img_size, patch_size, out_type='cls_token', in_channels=in_channels)
        if checkpoint:
            fill(model, checkpoint, 'encoder')
        elif random_weights:
            model.init_weights()
        else:
            raise CheckpointError(
                'the stage-1 teacher has no checkpoint: give a file with an encoder, e.g. '
                '--cfg-options distillation.teacher.checkpoint=work_dirs/vitb_mae/weights.pth'
            )
        super().__init__(model, dtype)
        self.source, self.width = checkpoint, model.embed_dim

    def answer(self, images: Tensor, view: Masking | None) -> Features:
        """Its tokens after the final norm; C = ``width``, whatever the view."""
        tokens, grid = self.model.embed(images)
        for block in self.model.blocks:
            tokens = block(tokens)
        tokens = self.model.norm(tokens)
        return Features(tokens[:, 0], tokens[:, 1:].unflatten(1, grid))
