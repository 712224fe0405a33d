"""Stage 1, generic distillation: a small masked autoencoder learns a large one's hidden features.

Both networks see the same quarter of the patches of the same images. The small decoder's output
predicts what the large decoder computes in one of its middle blocks, for every token.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.registry import MODELS
from timm.layers import Mlp
from torch import Tensor

from ..checkpoints import CheckpointError, Kind, identify, load_verified, read_weights
from ..checkpoints.convert import in_published_names
from ..checkpoints.fitting import fitted
from ..checkpoints.identify import raw_pixels
from ..checkpoints.load import is_outline
from ..checkpoints.positions import check_positions
from ..checkpoints.read import Weights, below
from ..models.mae import Encoded, MaskedAutoencoder, init_linear_xavier
from ..models.masking import Masking, mask_noise, random_masking, some_hidden
from .explained import explained_variance
from .losses.feature import normalised_target, smooth_l1_feature_loss
from .losses.relation import TokenRelationLoss
from .taps import Taps
from .teacher import FrozenTeacher, TeachingModel

_SUPERVISE = ('all', 'masked', 'patches')


@MODELS.register_module()
class GenericDistiller(TeachingModel):
    """Student autoencoder beside a frozen teacher autoencoder.

    Args:
        student: arguments of :class:`~g2sd_mm.models.mae.MaskedAutoencoder`.
        teacher: the same, with ``checkpoint`` (a *full* MAE file, decoder included) and ``dtype``.
            ``random_weights=True`` admits a teacher without a file, for speed tests.
        target_block: decoder block of the teacher, counted from 1, whose output is predicted; the
            teacher stops there.
        supervise: tokens that are compared: ``all`` of them with the class token (published),
            ``masked`` patches only, or all ``patches`` without the class token.
        beta: of the Smooth-L1 loss.
        mask_ratio: share of hidden patches.
        encoder_weight: weight of a second loss, on the encoder's features of the visible tokens;
            at 0 nothing of it is built or computed.
        decode_share: share of the hidden patches that both decoders see; below 1 the rest is left
            out of the arithmetic and of the loss (not in the paper: the teacher's features of the
            others are then computed without them).
        relation_weight, relation_heads: of a loss on the relations of the encoder's q, k and v in
            every layer; at 0 nothing is recorded.
    """

    def __init__(
        self,
        student: Mapping[str, Any],
        teacher: Mapping[str, Any],
        target_block: int = 4,
        supervise: str = 'all',
        beta: float = 2.0,
        mask_ratio: float = 0.75,
        encoder_weight: float = 0.0,
        decode_share: float = 1.0,
        relation_weight: float = 0.0,
        relation_heads: int = 1,
        data_preprocessor: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        if supervise not in _SUPERVISE:
            raise ValueError(f'supervise={supervise!r} is none of {", ".join(_SUPERVISE)}')
        if not 0 < decode_share <= 1:
            raise ValueError(f'decode_share={decode_share} is not above 0 and at most 1')
        self.set_teacher(build_generic_teacher(target_block=target_block, **teacher))
        self.student = MaskedAutoencoder(**student, pixel_head=False)
        big = self.teacher.model
        if self.student.num_patches != big.num_patches:
            raise ValueError(
                f'student and teacher must cut images into the same patches: '
                f'{self.student.num_patches} against {big.num_patches}'
            )
        self.supervise, self.beta = supervise, beta
        self.target_block, self.mask_ratio = target_block, mask_ratio
        self.encoder_weight, self.decode_share = encoder_weight, decode_share

        # two-layer MLPs, as wide as the teacher: Linear, GELU, Linear
        self.decoderfeature_pred = Mlp(self.student.decoder_dim, big.decoder_dim, big.decoder_dim)
        if encoder_weight:
            self.encoderfeature_pred = Mlp(self.student.embed_dim, big.embed_dim, big.embed_dim)
        self.relation = None
        if relation_weight:
            self.relation = TokenRelationLoss(relation_heads, relation_weight)
            self._student_qkv, self._teacher_qkv = _qkv_taps(self.student), _qkv_taps(big)

    def init_weights(self) -> None:
        """Random student; the teacher keeps its checkpoint."""
        self.student.init_weights()
        init_linear_xavier(self.decoderfeature_pred)
        if self.encoder_weight:
            init_linear_xavier(self.encoderfeature_pred)

    def forward(
        self, inputs: Tensor, data_samples: list | None = None, mode: str = 'tensor'
    ) -> dict[str, Tensor] | Tensor:
        """``loss``: dict of scalars; ``tensor``: the student's prediction [B, 1 + L, d teacher].

        Args:
            inputs: normalised images [B, 3, height, width].
            data_samples: may carry ``sample_seed``, which then fixes the masking.
            mode: ``loss`` or ``tensor``.
        """
        noise = mask_noise(inputs, data_samples, self.student.num_patches)
        masking = random_masking(noise, self.mask_ratio)
        if mode != 'loss':
            encoded = self.student.encode(inputs, masking)
            return self.decoderfeature_pred(self.student.decode(encoded.latent, masking))
        return self.losses(inputs, masking)

    def losses(self, images: Tensor, masking: Masking) -> dict[str, Tensor]:
        """Losses of one batch under a given masking, whose sum is minimised, and how good they are
        (``explained_variance``)."""
        if self.relation is None:
            encoded, target = self.ask_teacher(images, masking)
            own = self.student.encode(images, masking)
            losses = {}
        else:
            with self._teacher_qkv.record() as teacher_qkv:
                encoded, target = self.ask_teacher(images, masking)
            with self._student_qkv.record() as student_qkv:
                own = self.student.encode(images, masking)
            qkv = [[self._full(t) for t in side.values()] for side in (student_qkv, teacher_qkv)]
            with torch.autocast(images.device.type, enabled=False):
                losses = {'loss_relation': self.relation(student=qkv[0], teacher=qkv[1])}
        predicted = self.decoderfeature_pred(self._decode(self.student, own.latent, masking))
        predicted, target = (self.supervised(tokens, masking) for tokens in (predicted, target))
        losses['loss_decoder'] = self._compare(predicted, target)
        losses['explained_variance'] = explained_variance(predicted, normalised_target(target))
        if self.encoder_weight:
            losses['loss_encoder'] = self.encoder_weight * self._compare(
                self.encoderfeature_pred(own.latent), encoded.prenorm
            )
        return losses

    def _compare(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Smooth-L1 to the normalised target, in the student's own precision under autocast too."""
        with torch.autocast(predicted.device.type, enabled=False):
            return smooth_l1_feature_loss(
                self._full(predicted), normalised_target(self._full(target)), self.beta
            )

    def _full(self, tensor: Tensor) -> Tensor:
        """In the precision of the student's parameters."""
        return tensor.to(self.student.cls_token.dtype)

    def ask_teacher(self, images: Tensor, masking: Masking) -> tuple[Encoded, Tensor]:
        """Teacher's encoder features and raw output of its ``target_block`` [B, 1 + L, d].

        (Fewer tokens with a ``decode_share``.)
        """
        with self.teacher.answering(images) as images_:
            encoded = self.teacher.model.encode(images_, masking)
            target = self._decode(self.teacher.model, encoded.latent, masking, self.target_block)
            return encoded, self.teacher.tell(target)

    def _decode(
        self, network: MaskedAutoencoder, latent: Tensor, masking: Masking, until: int | None = None
    ) -> Tensor:
        """Decoder features of all tokens, or of those that ``decode_share`` leaves."""
        if self.decode_share == 1:
            return network.decode(latent, masking, until)
        hidden = some_hidden(masking, self.decode_share)
        return network.decode_some(latent, masking, hidden, until)

    def supervised(self, tokens: Tensor, masking: Masking) -> Tensor:
        """The tokens that the loss looks at, of those that were decoded [B, 1 + L (or less), d]."""
        if self.supervise == 'all':
            return tokens
        patches = tokens[:, 1:]
        if self.supervise == 'patches':
            return patches
        if self.decode_share < 1:  # visible ones first
            return patches[:, masking.keep.shape[1] :]
        return patches[masking.mask.bool()]

    def deployable_state(self) -> dict[str, Tensor]:
        """State dict of the student's encoder alone, under the published names."""
        return {
            name: tensor
            for name, tensor in self.student.state_dict().items()
            if not name.startswith(('decoder_', 'mask_token'))
        }


def build_generic_teacher(
    target_block: int,
    checkpoint: str | None = None,
    dtype: str = 'float32',
    random_weights: bool = False,
    **autoencoder: Any,
) -> FrozenTeacher:
    """Build stage 1's teacher up to ``target_block`` and refuse a file that lacks any of it.

    With a randomly initialised decoder the loss still falls to a healthy-looking value (a student
    that predicts positions alone reaches 0.025), so names are checked and not losses.

    Raises:
        CheckpointError: if the file is of the wrong kind or size; the message says what it is, what
            is missing, and which public file is right.
        ValueError: if ``target_block`` is not a block of the decoder.
    """
    model = MaskedAutoencoder(**autoencoder, pixel_head=False)
    depth = len(model.decoder_blocks)
    if not 1 <= target_block <= depth:
        raise ValueError(f"target_block={target_block} is not in 1..{depth}, the decoder's blocks")
    model.decoder_blocks = model.decoder_blocks[:target_block]  # the rest is never run
    if checkpoint:
        weights = read_weights(checkpoint, mmap=True)
        state = autoencoder_state(weights)
        load_verified(
            model,
            fitted(model, state, weights),
            weights,
            purpose='stage-1 teacher',
            may_ignore=('decoder_blocks.*', 'decoder_norm.*', 'decoder_pred.*'),
            advice=_advice(weights),
        )
        check_positions(weights, state['pos_embed'])
        if not is_outline(model):
            _warn_if_raw_pixels(weights)
    elif random_weights:
        model.init_weights()
    else:
        raise CheckpointError(
            'the stage-1 teacher has no checkpoint: give a full masked autoencoder, e.g. '
            '--cfg-options model.teacher.checkpoint=mae_pretrain_vit_base_full.pth'
        )
    return FrozenTeacher(model, dtype)


def autoencoder_state(weights: Weights) -> dict[str, Tensor]:
    """A full autoencoder's tensors: bare, inside a run of this project, or another library's."""
    return below(weights.state, 'autoencoder.') or in_published_names(weights)


def _advice(weights: Weights) -> str:
    """What to do instead, by what the file is."""
    right = (
        'A stage-1 teacher needs the decoder too: use the full checkpoint (publicly '
        'mae_pretrain_vit_base_full.pth or mae_pretrain_vit_large_full.pth), or pre-train one with '
        'configs/imagenet/vitb_mae.py.'
    )
    kind = identify(weights.state)
    if kind in (Kind.MAE_FULL, Kind.MAE_RUN):
        return 'Give a file of the arch and decoder in the config, or change model.teacher.'
    if kind in (Kind.STAGE1_RUN, Kind.G2SD_STUDENT):
        return f'This is a student, not a teacher. {right}'
    return right


def _warn_if_raw_pixels(weights: Weights) -> None:
    if raw_pixels(weights):
        print_log(
            f'{weights.name} was trained on raw pixels (a file for visualisation); the published '
            'results distil from one trained on normalised pixels (mae_pretrain_vit_base_full.pth)',
            logger='current',
            level=logging.WARNING,
        )


def _qkv_taps(model: MaskedAutoencoder) -> Taps:
    return Taps(model, {f'{i}': f'blocks.{i}.attn.qkv' for i in range(len(model.blocks))})
