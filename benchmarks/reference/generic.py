"""Stage 1 as published: all patches are embedded, and a second loss is computed and dropped."""

from __future__ import annotations

import torch
from torch import Tensor

from g2sd_mm.distill.generic import GenericDistiller
from g2sd_mm.models.mae import Encoded, MaskedAutoencoder
from g2sd_mm.models.masking import Masking

from .attention import clamped_attention


class AllPatchesAutoencoder(MaskedAutoencoder):
    """Embeds every patch and gives it its position before three quarters are put aside."""

    def encode(self, images: Tensor, masking: Masking) -> Encoded:
        """Images [B, 3, height, width] -> features [B, 1 + n, D]."""
        x = self.patch_embed(images) + self.pos_embed[:, 1:]
        x = x.gather(1, masking.keep.unsqueeze(-1).expand(-1, -1, x.shape[2]))
        cls = (self.cls_token + self.pos_embed[:, :1]).expand(len(x), -1, -1)
        x = torch.cat([cls, x], dim=1)
        for block in self.blocks:
            x = block(x)
        return Encoded(latent=self.norm(x), prenorm=x)


class ReferenceGenericDistiller(GenericDistiller):
    """Compares encoder features too, times zero; built with a positive ``encoder_weight``."""

    def losses(self, images: Tensor, masking: Masking) -> dict[str, Tensor]:
        """Losses of one batch under a given masking; their sum is minimised."""
        encoded, target = self.ask_teacher(images, masking)
        own = self.student.encode(images, masking)
        predicted = self.decoderfeature_pred(self.student.decode(own.latent, masking))
        unused = self._compare(self.encoderfeature_pred(own.latent), encoded.prenorm)
        return {
            'loss_decoder': self._compare(predicted, target),
            'loss_encoder': 0.0 * unused,
        }


def restate(model: GenericDistiller, kept: list) -> None:
    """Compute a distiller the published way, in place."""
    model.__class__ = ReferenceGenericDistiller
    for network in (model.student, model.teacher.model):
        network.__class__ = AllPatchesAutoencoder
        clamped_attention(network, kept)
