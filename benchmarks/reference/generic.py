"""Stage 1 as published: all patches are embedded, and a second loss is computed and dropped."""

from __future__ import annotations

import torch
from mmengine.config import Config
from torch import Tensor

from g2sd_mm.distill import MaskedStudent, SpecificDistiller
from g2sd_mm.models.mae import Encoded, MaskedAutoencoder
from g2sd_mm.models.masking import Masking
from g2sd_mm.models.sizes import encoder_size

from .attention import clamped_attention


class AllPatches:
    """Embeds every patch and gives it its position before three quarters are put aside."""

    def encode(self: MaskedAutoencoder, images: Tensor, masking: Masking) -> Encoded:
        """Images [B, 3, height, width] -> features [B, 1 + n, D]."""
        x = self.patch_embed(images) + self.pos_embed[:, 1:]
        x = x.gather(1, masking.keep.unsqueeze(-1).expand(-1, -1, x.shape[2]))
        cls = (self.cls_token + self.pos_embed[:, :1]).expand(len(x), -1, -1)
        x = torch.cat([cls, x], dim=1)
        for block in self.blocks:
            x = block(x)
        return Encoded(latent=self.norm(x), prenorm=x)


class AllPatchesAutoencoder(AllPatches, MaskedAutoencoder):
    """The teacher's network."""


class AllPatchesStudent(AllPatches, MaskedStudent):
    """The student's."""


def add_unused_loss(cfg: Config) -> None:
    """Compare encoder features too, times zero, in place."""
    cfg.distillation.taps.encoder = dict(student='norm', teacher='blocks.-1')
    cfg.distillation.adapters.encoder = dict(
        type='MlpAdapter',
        in_channels=encoder_size(cfg.model.arch).embed_dim,
        out_channels=encoder_size(cfg.distillation.teacher.arch).embed_dim,
    )
    cfg.distillation.losses.loss_encoder = dict(
        type='SmoothL1FeatureLoss', tap='encoder', loss_weight=0.0
    )


def restate(model: SpecificDistiller, kept: list) -> None:
    """Compute a distiller the published way, in place."""
    model.student.__class__ = AllPatchesStudent
    model.teacher.model.__class__ = AllPatchesAutoencoder
    for network in (model.student, model.teacher.model):
        clamped_attention(network, kept)
