"""A ViT encoder of this project, or one that can be converted to it, on whole images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from mmengine.registry import MODELS
from torch import Tensor

from ...checkpoints import CheckpointError, encoder_state, read_weights
from ...checkpoints.fill import fill
from ...models.backbones import G2SDViT
from ...models.masking import Masking
from ...models.vit import VisionTransformer
from .protocol import Features, FrozenTeacher


@MODELS.register_module()
class EncoderTeacher(FrozenTeacher):
    """The encoder of a masked autoencoder, or of a stage-1 student, that sees all patches.

    It teaches students that cannot be masked, and takes images of any size that its patches divide:
    its positions are resized.

    Args:
        arch, img_size, patch_size, in_channels: of the :class:`~g2sd_mm.models.backbones.G2SDViT`.
        checkpoint: any file with an encoder of that size. A distillation token in it is
            no part of the answer; what taps hear in the blocks has it, last.
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
        weights = read_weights(checkpoint, mmap=True) if checkpoint else None
        two = weights is not None and 'dist_token' in encoder_state(weights)
        out_type = 'dist_token' if two else 'cls_token'
        model = G2SDViT(arch, img_size, patch_size, out_type=out_type, in_channels=in_channels)
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
        return tokens_features(self.model, images)


def tokens_features(
    vit: VisionTransformer, images: Tensor, block: int = -1, normed: bool = True
) -> Features:
    """Class token and patch map of one of this project's ViTs, all patches seen.

    Args:
        vit: a backbone or masked autoencoder without windows.
        images: normalised [B, C, H, W].
        block: whose output, from 0, or from the end if negative.
        normed: pass it through the network's ``norm``.
    """
    x, grid = vit.embed(images)
    if (dist := getattr(vit, 'dist_token', None)) is not None:  # the others attend to it
        x = torch.cat([x, dist.to(x.dtype).expand(len(x), -1, -1)], dim=1)
    for layer in vit.blocks[: block % vit.depth + 1]:
        x = layer(x)
    x = vit.norm(x) if normed else x
    patches = x[:, 1 : 1 + grid[0] * grid[1]]
    return Features(x[:, 0], patches.unflatten(1, grid))
