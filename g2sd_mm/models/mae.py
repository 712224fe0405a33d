"""Masked autoencoder: an encoder on the visible patches and a light decoder on all of them.

Teacher and student of generic distillation, and the model of MAE pre-training, are this one class.
Shapes: B images, L patches (n visible, m hidden), D encoder and d decoder channels, H heads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from timm.layers import Mlp
from torch import Tensor, nn

from ..errors import ConfigError
from .masking import Masking, mask_noise, nothing_hidden, random_masking, some_hidden
from .positions import Grid, height_and_width, sincos_position_embedding, square_grid
from .sizes import DecoderSize, EncoderSize, decoder_size
from .vit import NORM_EPS, Attention, Block, VisionTransformer, by_head, init_linears


class CrossAttention(Attention):
    """Multi-head attention from some tokens to others, on torch's fused kernels."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__(dim, num_heads)
        del self.qkv
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:  # type: ignore[override]
        """Queries of x [B, m, d], keys and values of context [B, 1 + n, d] -> [B, m, d]."""
        (q,) = by_head(self.q(x), 1, self.num_heads)
        k, v = by_head(self.kv(context), 2, self.num_heads)
        return self.joined(self.attend(q, k, v, None))


class CrossBlock(nn.Module):
    """Pre-norm block: attention to the visible tokens, then a GELU MLP, each behind a residual.

    Args:
        dim: channels d.
        num_heads: heads H.
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.norm_context = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = CrossAttention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = Mlp(dim, 4 * dim, act_layer=nn.GELU)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Hidden tokens [B, m, d], class token and visible ones [B, 1 + n, d] -> [B, m, d]."""
        x = x + self.attn(self.norm1(x), self.norm_context(context))
        return x + self.mlp(self.norm2(x))


#: What a decoder of that attention is built of.
_DECODER_BLOCKS: dict[str, Callable[[int, int], nn.Module]] = {'self': Block, 'cross': CrossBlock}


class Encoded(NamedTuple):
    """The encoder's output [B, 1 + n, D]: ``latent`` after the final norm, ``prenorm`` before."""

    latent: Tensor
    prenorm: Tensor


class MaskedAutoencoder(VisionTransformer):
    """ViT encoder on visible tokens, decoder on all tokens.

    Args:
        arch: encoder size, see :mod:`g2sd_mm.models.sizes`.
        decoder: decoder size, by its official name such as ``'dec256d4b'``, or in full; None for
            none: an encoder that sees all patches.
        img_size: side of the square input in pixels, or its height and width.
        pixel_head: build ``decoder_norm`` and ``decoder_pred``, which turn decoder features into
            pixels. A distillation student has no use for them: parameters that never get a
            gradient would break plain DDP.
        with_cp: see :class:`~g2sd_mm.models.vit.VisionTransformer`; for the decoder's blocks too.
        in_channels: channels C of the images.
        decoder_attention: ``self``: in the decoder all tokens look at all (MAE, G2SD). ``cross``:
            hidden tokens look at the visible ones, and at nothing else; the features of visible
            tokens are the encoder's, in the decoder's width (SAMI, CrossMAE). Less arithmetic.

    In both, a tap on ``decoded`` hears all tokens in raster order.

    Raises:
        ConfigError: for another ``decoder_attention``.
    """

    def __init__(
        self,
        arch: str | Mapping | EncoderSize,
        decoder: str | Mapping | DecoderSize | None,
        img_size: int | Sequence[int] = 224,
        patch_size: int | None = None,
        pixel_head: bool = True,
        with_cp: bool = False,
        in_channels: int = 3,
        decoder_attention: str = 'self',
    ) -> None:
        if decoder_attention not in _DECODER_BLOCKS:
            raise ConfigError(
                f'decoder_attention={decoder_attention!r} is none of {", ".join(_DECODER_BLOCKS)}'
            )
        super().__init__(arch, img_size, patch_size, with_cp=with_cp, in_channels=in_channels)
        self.norm = nn.LayerNorm(self.embed_dim, eps=NORM_EPS)
        self.decoder_attention = decoder_attention
        self.decoded = nn.Identity()
        # fixed, but a parameter as in the published checkpoints, so that it is saved and moved
        self.pos_embed = _fixed(sincos_position_embedding(self.embed_dim, self.grid_size))
        self.has_decoder = decoder is not None
        if decoder is None:
            self.decoder_dim = self.embed_dim
            return
        size = decoder_size(decoder)
        self.decoder_dim = size.embed_dim
        self.decoder_embed = nn.Linear(self.embed_dim, size.embed_dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, size.embed_dim))
        self.decoder_pos_embed = _fixed(sincos_position_embedding(size.embed_dim, self.grid_size))
        self.decoder_blocks = nn.ModuleList(
            _DECODER_BLOCKS[decoder_attention](size.embed_dim, size.num_heads)
            for _ in range(size.depth)
        )
        if pixel_head:
            self.decoder_norm = nn.LayerNorm(size.embed_dim, eps=NORM_EPS)
            pixels = in_channels * self.patch_embed.patch_size**2
            self.decoder_pred = nn.Linear(size.embed_dim, pixels)

    @property
    def num_patches(self) -> int:
        """L, patches of an image of the size that the model was built for."""
        return self.grid_size[0] * self.grid_size[1]

    def init_weights(self) -> None:
        """MAE's initialisation: Xavier for matrices (patch projection too), N(0, 0.02) tokens."""
        init_linears(self, nn.init.xavier_uniform_)
        projection = self.patch_embed.proj.weight
        nn.init.xavier_uniform_(projection.data.flatten(1))
        nn.init.normal_(self.cls_token, std=0.02)
        if self.has_decoder:
            nn.init.normal_(self.mask_token, std=0.02)

    def encode(self, images: Tensor, masking: Masking) -> Encoded:
        """Images [B, C, height, width] -> features of the class token and the visible patches."""
        self._check_grid(images)
        x, _ = self.embed(images, masking.keep)  # [B, 1 + n, D]
        for block in self.blocks:
            x = self.run(block, x)
        return Encoded(latent=self.norm(x), prenorm=x)

    def decode(self, latent: Tensor, masking: Masking, until: int | None = None) -> Tensor:
        """Decoder features [B, 1 + L, d] after block ``until`` (counted from 1; None: the last).

        The raw residual stream in raster order: no ``decoder_norm``, no ``decoder_pred``. With
        cross-attention, what is computed are the hidden tokens alone; those of visible patches and
        the class token are the encoder's in the decoder's width.

        Where the masking leaves hidden patches out, it is as if they were not in the image, and the
        order another one: [B, 1 + n + m, d], class token, visible patches, hidden ones.
        """
        hidden = some_hidden(masking, 1.0) if masking.hidden is None else masking.hidden
        visible = self.decoder_embed(latent)
        mask, table = self.mask_token.to(visible.dtype), self.decoder_pos_embed[0]
        B, n, _ = visible.shape
        patches = table[1:][torch.cat([masking.keep, hidden], dim=1)]
        positions = torch.cat([table[:1].expand(B, -1, -1), patches], dim=1)
        if self.decoder_attention == 'self':
            x = torch.cat([visible, mask.expand(*hidden.shape, -1)], dim=1)
            x = _unshuffled(x + positions, masking)
            for block in self.decoder_blocks[:until]:
                x = self.run(block, x)
            return self.decoded(x)
        context, x = visible + positions[:, :n], mask + positions[:, n:]
        for block in self.decoder_blocks[:until]:
            x = self.run(block, x, context)
        x = torch.cat([visible, x.to(visible.dtype)], dim=1)
        return self.decoded(_unshuffled(x, masking))

    def predict_pixels(self, features: Tensor) -> Tensor:
        """Last decoder features [B, 1 + L, d] -> patch pixels [B, L, C * patch ** 2]."""
        return self.decoder_pred(self.decoder_norm(features))[:, 1:]

    def forward(self, images: Tensor, masking: Masking) -> Tensor:
        """Predicted patch pixels [B, L, C * patch ** 2] of every patch."""
        return self.predict_pixels(self.decode(self.encode(images, masking).latent, masking))

    def _check_grid(self, images: Tensor) -> None:
        if self.patch_embed.grid(images) != self.grid_size:
            own_height, own_width = height_and_width(self.img_size)
            height, width = images.shape[-2:]
            raise ValueError(
                f'this masked autoencoder was built for {own_height}x{own_width} px images and got '
                f'{height}x{width}: set img_size, or crop to {self.img_size}'
            )


@MODELS.register_module()
class MAEPretraining(BaseModel):
    """MAE pre-training: predict the pixels of masked patches.

    Args:
        arch, decoder, img_size, patch_size, with_cp, in_channels, decoder_attention: of the
            :class:`MaskedAutoencoder`.
        mask_ratio: share of patches that is hidden.
        norm_pix: predict pixels normalised per patch, as the public full checkpoints do; False for
            raw pixels, as the public ``visualize`` checkpoints.

    Raises:
        ConfigError: if no patch is hidden.
    """

    def __init__(
        self,
        arch: str | Mapping,
        decoder: str | Mapping,
        img_size: int | Sequence[int] = 224,
        patch_size: int | None = None,
        mask_ratio: float = 0.75,
        norm_pix: bool = True,
        data_preprocessor: dict | None = None,
        **autoencoder: Any,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        if not mask_ratio:
            raise ConfigError(
                'model.mask_ratio=0 hides nothing, and what MAEPretraining predicts are the pixels '
                'of hidden patches: give a share above 0, such as 0.75'
            )
        self.autoencoder = MaskedAutoencoder(arch, decoder, img_size, patch_size, **autoencoder)
        self.mask_ratio, self.norm_pix = mask_ratio, norm_pix

    def forward(
        self, inputs: Tensor, data_samples: list | None = None, mode: str = 'tensor'
    ) -> dict[str, Tensor] | Tensor:
        """``loss``: dict with one scalar; ``tensor``: class feature [B, D] of the whole image."""
        model = self.autoencoder
        if mode == 'loss':
            noise = mask_noise(inputs, data_samples, model.num_patches)
            masking = random_masking(noise, self.mask_ratio)
            patch = model.patch_embed.patch_size
            predicted = model(inputs, masking)
            return {'loss': pixel_loss(predicted, inputs, masking.mask, patch, self.norm_pix)}
        return model.encode(inputs, nothing_hidden(inputs, model.num_patches)).latent[:, 0]

    def deployable_state(self) -> dict[str, Tensor]:
        """State dict of the plain autoencoder, under the published names."""
        return self.autoencoder.state_dict()


def _unshuffled(tokens: Tensor, masking: Masking) -> Tensor:
    """Class token, visible and hidden patches [B, 1 + L, d] in raster order, if all are there."""
    if masking.hidden is not None:
        return tokens
    order = masking.restore.unsqueeze(-1).expand(-1, -1, tokens.shape[2])
    return torch.cat([tokens[:, :1], tokens[:, 1:].gather(1, order)], dim=1)


def patchify(images: Tensor, patch: int) -> Tensor:
    """[B, C, height, width] -> [B, L, patch * patch * C], channels fastest."""
    B, C, H, W = images.shape
    x = images.reshape(B, C, H // patch, patch, W // patch, patch)
    return x.permute(0, 2, 4, 3, 5, 1).reshape(B, -1, patch * patch * C)


def unpatchify(patches: Tensor, patch: int, grid: Grid | None = None) -> Tensor:
    """[B, L, patch * patch * C] -> [B, C, height, width]; undoes patchify.

    Args:
        patches: in raster order.
        patch: side of a patch in pixels.
        grid: patch rows and columns; None for those of a square image.

    Raises:
        ValueError: if there is no grid, and the patches form no square.
    """
    rows, columns = square_grid(patches.shape[1]) if grid is None else grid
    x = patches.reshape(len(patches), rows, columns, patch, patch, -1)
    return x.permute(0, 5, 1, 3, 2, 4).reshape(len(patches), -1, rows * patch, columns * patch)


def pixel_loss(
    predicted: Tensor, images: Tensor, mask: Tensor, patch: int, norm_pix: bool = True
) -> Tensor:
    """Mean squared error over the masked patches (MAE, He et al. 2022, section 3).

    Args:
        predicted: [B, L, patch * patch * C].
        images: normalised images [B, C, height, width].
        mask: [B, L], 1 where a patch was hidden.
        patch: patch size in pixels.
        norm_pix: compare with each patch's own zero-mean unit-variance pixels (unbiased variance
            plus 1e-6, as published).
    """
    target = patchify(images, patch)
    if norm_pix:
        mean, var = target.mean(-1, keepdim=True), target.var(-1, keepdim=True)
        target = (target - mean) / (var + 1e-6).sqrt()
    per_patch = (predicted - target).square().mean(-1)  # [B, L]
    return (per_patch * mask).sum() / mask.sum()


def _fixed(table: Tensor) -> nn.Parameter:
    return nn.Parameter(table, requires_grad=False)
