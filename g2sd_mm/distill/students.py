"""What stage 1 trains: masked autoencoders that draw the view, and networks that see all of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn

from ..errors import ConfigError
from ..models.mae import MaskedAutoencoder, pixel_loss
from ..models.masking import (
    Masking,
    mask_noise,
    nothing_hidden,
    random_masking,
    some_hidden,
)
from ..models.timm_network import (
    chosen_levels,
    feature_maps,
    level_strides,
    timm_network,
    unused_names,
)

_PATCH = 16  # pixels; of the coarsest patches that are usual


@MODELS.register_module()
class MaskedStudent(MaskedAutoencoder):
    """Student of generic distillation, a ViT; it has no loss of its own, a teacher gives it one.

    Args:
        mask_ratio: share of hidden patches; 0 with ``decoder=None`` is plain feature distillation,
            which a tap on ``norm`` hears: class token and patches in raster order.
        decode_share: share of the hidden patches that both decoders see; below 1 the rest is left
            out of the arithmetic and of the loss (not in the paper: the teacher's features of the
            others are then computed without them).
        pixels: give it a loss of its own, ``loss_pixels``: the pixels of hidden patches, as in MAE
            pre-training (DMAE has it beside a teacher's features).
        norm_pix: whether these are normalised patch by patch.
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
        pixels: bool = False,
        norm_pix: bool = False,
        **autoencoder: Any,
    ) -> None:
        super().__init__(**autoencoder, pixel_head=pixels)
        if pixels and (not self.has_decoder or decode_share < 1 or not mask_ratio):
            raise ConfigError(
                'model.pixels=True needs a decoder of all patches, of which some are hidden: give '
                'model.decoder, model.mask_ratio above 0, and leave out model.decode_share'
            )
        self.pixels, self.norm_pix = pixels, norm_pix
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
            return nothing_hidden(images, self.num_patches)
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

        In mode ``loss`` it is listened to, and has a loss of its own with ``pixels`` alone.
        ``view=None`` draws one.
        """
        view = self.draw_view(inputs, data_samples) if view is None else view
        features = self.encode(inputs, view).latent
        if self.has_decoder:
            features = self.decode(features, view)
        if mode != 'loss':
            return features
        if not self.pixels:
            return {}
        patch = self.patch_embed.patch_size
        predicted = self.predict_pixels(features)
        return {'loss_pixels': pixel_loss(predicted, inputs, view.mask, patch, self.norm_pix)}

    def deployable_state(self) -> dict[str, Tensor]:
        """State dict of the encoder alone, under the published names."""
        return {
            name: tensor
            for name, tensor in self.state_dict().items()
            if not name.startswith(('decoder_', 'mask_token', 'hidden_token'))
        }


@MODELS.register_module()
class TwiceSeeingStudent(MaskedStudent):
    """An encoder that sees each image whole, and some of them once more in part (Proteus).

    In the second pass a share of the patches is replaced by a learnt token, as in iBOT: no patch is
    left out. A tap on ``whole`` hears the tokens of the first pass, [B, 1 + L, D] behind the final
    norm; a tap on ``again`` those of the second, and of images that are not seen again those of the
    first. ``tokens='masked'`` of a loss are the replaced patches.

    Args:
        images: share of the images of a batch that is seen again, the first ones of it.
        patches: share of their patches that is replaced.
        encoder: arch, img_size, patch_size, with_cp, in_channels and data_preprocessor of the
            :class:`MaskedStudent`.
    """

    def __init__(self, images: float = 0.5, patches: float = 0.5, **encoder: Any) -> None:
        super().__init__(mask_ratio=0.0, decoder=None, **encoder)
        for name, share in (('images', images), ('patches', patches)):
            if not 0 < share < 1:
                raise ConfigError(f'model.{name}={share} is not between 0 and 1')
        self.images, self.patches = images, patches
        self.hidden_token = nn.Parameter(torch.zeros(1, 1, self.embed_dim))
        self.whole, self.again = nn.Identity(), nn.Identity()

    def draw_view(self, images: Tensor, data_samples: Sequence | None = None) -> Masking:
        """What is replaced in the second pass; it follows from the samples' seeds, if any."""
        noise = mask_noise(images, data_samples, self.num_patches)
        view = random_masking(noise, self.patches)
        mask = view.mask.clone()
        mask[self._seen_again(images) :] = 0
        return view._replace(mask=mask)

    def _seen_again(self, images: Tensor) -> int:
        return max(1, round(self.images * len(images)))

    def forward(  # type: ignore[override]
        self,
        inputs: Tensor,
        data_samples: Sequence | None = None,
        mode: str = 'tensor',
        view: Masking | None = None,
    ) -> dict[str, Tensor] | Tensor:
        """Normalised images [B, 3, height, width] -> tokens of the first pass [B, 1 + L, D]."""
        self._check_grid(inputs)
        whole = self.whole(self._run(self.patch_embed(inputs)))
        if mode != 'loss':
            return whole
        view = self.draw_view(inputs, data_samples) if view is None else view
        some = self._seen_again(inputs)
        mask = view.mask[:some].unsqueeze(-1).to(whole.dtype)
        patches = self.patch_embed(inputs[:some])
        patches = patches * (1 - mask) + self.hidden_token.to(patches.dtype) * mask
        self.again(torch.cat([self._run(patches), whole[some:]]))
        return {}

    def _run(self, patches: Tensor) -> Tensor:
        """Embedded patches [B, L, D] -> class token and patches behind the final norm."""
        cls = (self.cls_token + self.pos_embed[:, :1]).expand(len(patches), -1, -1)
        x = torch.cat([cls.to(patches.dtype), patches + self.pos_embed[:, 1:]], dim=1)
        for block in self.blocks:
            x = self.run(block, x)
        return self.norm(x)


@MODELS.register_module()
class FeatureStudent(BaseModule):
    """A network of timm (ConvNeXt, RepViT, Swin, Hiera, ...) whose feature map a teacher teaches.

    Nothing is masked and nothing decoded: the map of one level, through an adapter to the teacher's
    width, is compared with the teacher's patches. It has no loss of its own. Taps hear

    - ``patches``: the map, channels last as a teacher's patches: [B, rows, columns, D];
    - ``cls``: its mean over all positions [B, D], beside a teacher's class token.

    Its weights file is the plain network's state dict, which
    ``timm.create_model(model, num_classes=0)`` loads strictly, and from which
    :class:`~g2sd_mm.models.backbones.timm.TimmBackbone` fine-tunes. What the map does not need
    (later stages, pooling heads) is in it as it was drawn, untrained.

    Args:
        model: name of the network in timm, without a tag.
        level: of the map, counted from 0 (the finest) or from -1 (the last).
        norm: apply the norm that some networks (Swin, ViT) have behind their last level.
        in_channels: channels of the images.
        drop_path_rate: probability of dropping the last residual branch of a sample in training.
        with_cp: recompute activations in the backward pass instead of keeping them.
        options: further ones of that network, e.g. ``depths``, ``dims``, ``img_size``.

    Raises:
        ConfigError: for a network, level or option that timm does not have.
    """

    #: ``load_from`` takes files of timm.
    starts_from_timm = True

    def __init__(
        self,
        model: str,
        level: int = -1,
        norm: bool = False,
        in_channels: int = 3,
        drop_path_rate: float = 0.0,
        with_cp: bool = False,
        data_preprocessor: dict | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.network = timm_network(model, 'model', in_channels, drop_path_rate, **options)
        self.model, self.in_channels, self.norm = model, in_channels, norm
        self.levels = chosen_levels(self.network, (level,), 'model.level')
        if with_cp:
            self.network.set_grad_checkpointing(True)
        if 'img_size' in options:
            self.img_size = options['img_size']
        reduction = level_strides(self.network)[self.levels[0]]
        #: Pixels from one position of the map to the next, which a teacher's grid may follow; a
        #: coarser map is enlarged to the teacher's instead.
        self.stride = reduction if reduction <= _PATCH else None
        # parameters that never get a gradient would break plain DDP
        unused = unused_names(self.network, self.levels, norm)
        for name, parameter in self.network.named_parameters():
            if name in unused:
                parameter.requires_grad_(False)
        self.patches, self.cls = nn.Identity(), nn.Identity()
        self.data_preprocessor = MODELS.build(data_preprocessor or {'type': 'BaseDataPreprocessor'})

    def init_weights(self) -> None:
        """Nothing: timm has drawn the weights, by the rule of each network."""

    def forward(
        self, inputs: Tensor, data_samples: Sequence | None = None, mode: str = 'tensor'
    ) -> dict[str, Tensor] | Tensor:
        """Normalised images [B, C, height, width] -> the map, [B, rows, columns, D].

        In mode ``loss`` it is listened to and has no loss.
        """
        (features,) = feature_maps(self.network, inputs, self.levels, self.norm)
        patches = self.patches(features.movedim(1, -1))
        self.cls(features.mean(dim=(2, 3)))
        return {} if mode == 'loss' else patches

    def deployable_state(self) -> dict[str, Tensor]:
        """State dict of the plain network, under timm's names."""
        return self.network.state_dict()
