"""What stage 1 trains: a small masked autoencoder that draws the view for both networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor

from ..errors import ConfigError
from ..models.mae import MaskedAutoencoder
from ..models.masking import Masking, mask_noise, random_masking, some_hidden


@MODELS.register_module()
class MaskedStudent(MaskedAutoencoder):
    """Student of generic distillation, a ViT; it has no loss of its own, a teacher gives it one.

    Args:
        mask_ratio: share of hidden patches; 0 with ``decoder=None`` is plain feature distillation,
            which a tap on ``norm`` hears: class token and patches in raster order.
        decode_share: share of the hidden patches that both decoders see; below 1 the rest is left
            out of the arithmetic and of the loss (not in the paper: the teacher's features of the
            others are then computed without them).
        autoencoder: arch, decoder, img_size, patch_size, with_cp, in_channels and
            decoder_attention of the :class:`~g2sd_mm.models.mae.MaskedAutoencoder`.

    Raises:
        ConfigError: if patches are hidden and there is no decoder, or none is hidden from a decoder
            that computes hidden ones alone.
    """

    def __init__(
        self,
        mask_ratio: float = 0.75,
        decode_share: float = 1.0,
        data_preprocessor: dict | None = None,
        **autoencoder: Any,
    ) -> None:
        super().__init__(**autoencoder, pixel_head=False)
        if not 0 < decode_share <= 1:
            raise ValueError(f'decode_share={decode_share} is not above 0 and at most 1')
        if not self.has_decoder and mask_ratio:
            raise ConfigError(
                f'model.mask_ratio={mask_ratio} hides patches, which model.decoder=None cannot '
                'predict: set model.mask_ratio=0, or give a decoder'
            )
        if self.has_decoder and self.decoder_attention == 'cross' and mask_ratio == 0:
            raise ConfigError(
                'model.mask_ratio=0 hides nothing, and a decoder with '
                "model.decoder_attention='cross' computes hidden patches alone: set "
                'model.decoder=None'
            )
        self.mask_ratio, self.decode_share = mask_ratio, decode_share
        self.data_preprocessor = MODELS.build(data_preprocessor or {'type': 'BaseDataPreprocessor'})

    def draw_view(self, images: Tensor, data_samples: Sequence | None = None) -> Masking:
        """What both networks see of a batch; it follows from samples' ``sample_seed``, if any."""
        if not self.has_decoder:  # nothing to draw, and the order stays that of the image
            order = torch.arange(self.num_patches, device=images.device)
            return random_masking(order.expand(len(images), -1), 0.0)
        noise = mask_noise(images, data_samples, self.num_patches)
        masking = random_masking(noise, self.mask_ratio)
        if self.decode_share == 1:
            return masking
        return masking._replace(hidden=some_hidden(masking, self.decode_share))

    def forward(  # type: ignore[override]
        self,
        inputs: Tensor,
        data_samples: Sequence | None = None,
        mode: str = 'tensor',
        view: Masking | None = None,
    ) -> dict[str, Tensor] | Tensor:
        """Normalised images [B, 3, height, width] -> the decoder's features [B, 1 + L, d].

        Of a student without one, the encoder's.

        In mode ``loss`` it is listened to and has no loss. ``view=None`` draws one.
        """
        view = self.draw_view(inputs, data_samples) if view is None else view
        features = self.encode(inputs, view).latent
        if self.has_decoder:
            features = self.decode(features, view)
        return {} if mode == 'loss' else features

    def deployable_state(self) -> dict[str, Tensor]:
        """State dict of the encoder alone, under the published names."""
        return {
            name: tensor
            for name, tensor in self.state_dict().items()
            if not name.startswith(('decoder_', 'mask_token'))
        }
