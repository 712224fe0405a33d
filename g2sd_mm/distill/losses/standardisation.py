"""How a teacher's tokens become targets: parts of the losses on tokens, named by ``target``.

Those that measure the teacher keep what they measured in buffers: it is in the training checkpoint,
so a resumed run goes on with the same targets to the bit, and not in the deployed student.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce, broadcast
from torch import Tensor, nn

from ...errors import UserError
from .common import check_choice

_EPS = 1e-6
CLASS, PATCH = 0, 1  # rows of what is measured


def normalised_target(features: Tensor, eps: float = 1e-6) -> Tensor:
    """LayerNorm over the channels of each token, without affine parameters; same shape."""
    return F.layer_norm(features, features.shape[-1:], eps=eps)


class PlainTarget(nn.Module):
    """Tokens as they are."""

    def forward(self, tokens: Tensor, first: int) -> Tensor:
        """[B, first + N, C], ``first`` class tokens in front -> the same."""
        return tokens


class LayerNormTarget(nn.Module):
    """Every token by its own mean and variance, see :func:`normalised_target`."""

    def forward(self, tokens: Tensor, first: int) -> Tensor:
        """[B, first + N, C], ``first`` class tokens in front -> the same shape."""
        return normalised_target(tokens)


class MeasuredTarget(nn.Module):
    """Standardised by statistics of the teacher's tokens, class and patch tokens apart.

    Measured over all tokens of the first ``updates`` optimizer updates, micro-batches and processes
    together, and fixed from then on. Until then the statistics so far count, those of the batch at
    hand included. A batch with a number that is not finite is left out.

    Args:
        channels: C of the teacher's tokens; None if whoever owns the loss says it by
            :meth:`allocate` before anything is loaded.
        updates: optimizer updates that are measured.

    Attributes:
        count: float64 [2], class and patch tokens measured.
        mean: float64 [2, C].
        spread: float64 [2, C] sums of squared deviations; a subclass may keep products, [2, C, C].
        settled: bool, whether the statistics are fixed.
    """

    count: Tensor
    mean: Tensor
    spread: Tensor
    settled: Tensor
    name = ''
    products = False

    def __init__(self, channels: int | None = None, updates: int = 500) -> None:
        super().__init__()
        if updates < 1:
            raise UserError(f'target.updates={updates}: at least one update has to be measured')
        self.channels: int | None = None
        self.updates = updates
        self._settled: bool | None = None  # the buffer, which may be on a device; None: ask it
        if channels is not None:
            self.allocate(channels)

    def allocate(self, channels: int) -> None:
        """Make room for tokens of this width."""
        self.channels = channels
        shape = (2, channels, channels) if self.products else (2, channels)
        self.register_buffer('count', torch.zeros(2, dtype=torch.float64))
        self.register_buffer('mean', torch.zeros(2, channels, dtype=torch.float64))
        self.register_buffer('spread', torch.zeros(shape, dtype=torch.float64))
        self.register_buffer('settled', torch.zeros((), dtype=torch.bool))

    def _load_from_state_dict(self, *args: Any) -> None:
        super()._load_from_state_dict(*args)
        self._settled = None
        self._forget()

    @property
    def is_settled(self) -> bool:
        """Whether the statistics are fixed; the device is asked once after loading."""
        if self._settled is None:
            self._settled = bool(self.settled.item())
        return self._settled

    @torch.no_grad()
    def measure(self, tokens: Tensor, first: int, update: int) -> None:
        """Count a batch in, in all processes together, or fix what was measured.

        Args:
            tokens: of the teacher [B, first + N, C], as it answered.
            first: class tokens in front, 0 or 1.
            update: optimizer updates so far.
        """
        self._check(tokens)
        if self.is_settled:
            return
        if update >= self.updates:
            self._settle()
            self.settled.fill_(True)
            self._settled = True
            self._forget()
            return
        parts = [tokens[:, :first], tokens[:, first:]]
        sums = [self._sums(part.flatten(0, 1), row) for row, part in enumerate(parts)]
        batch = torch.stack(sums)
        all_reduce(batch)
        # without waiting for the device; the loss itself tells of what is not finite
        batch = torch.where(batch.isfinite().all(), batch, torch.zeros_like(batch))
        number, C = batch[:, 0], self.mean.shape[1]
        total = (self.count + number).clamp(min=1)
        shift = batch[:, 1 : 1 + C] / total.unsqueeze(1)
        self.mean += shift
        squares = batch[:, 1 + C :].view_as(self.spread)
        outer = shift.unsqueeze(1) * shift.unsqueeze(2) if self.products else shift**2
        self.spread += squares - total.view(-1, *[1] * (outer.ndim - 1)) * outer
        self.count += number
        self._forget()

    def _check(self, tokens: Tensor) -> None:
        if tokens.shape[-1] != self.channels:
            raise UserError(
                f'targets are measured of {self.channels} channels and the teacher has '
                f'{tokens.shape[-1]}: set target.channels={tokens.shape[-1]} of the loss'
            )

    def _sums(self, tokens: Tensor, row: int) -> Tensor:
        """Number of tokens [M, C], and sums of deviations from the mean so far, and squares."""
        away = tokens.double() - self.mean[row]
        squares = away.T @ away if self.products else (away**2).sum(dim=0)
        number = torch.full((1,), len(away), dtype=torch.float64, device=away.device)
        return torch.cat([number, away.sum(dim=0), squares.flatten()])

    def _settle(self) -> None:
        """Make of the sums what is used from now on."""

    def _forget(self) -> None:
        """Drop what was derived from the buffers."""

    def forward(self, tokens: Tensor, first: int) -> Tensor:
        """[B, first + N, C], ``first`` class tokens in front -> the same shape."""
        self._check(tokens)
        patches = self._standardise(tokens[:, first:], PATCH)
        if not first:
            return patches
        return torch.cat([self._standardise(tokens[:, :first], CLASS), patches], dim=1)

    def _standardise(self, tokens: Tensor, row: int) -> Tensor:
        raise NotImplementedError


class MeanStdTarget(MeasuredTarget):
    """``(t - mean) / sqrt(variance + 1e-6)`` for each channel (EUPE, 2026, with 500 updates)."""

    name = 'mean_std'

    def _standardise(self, tokens: Tensor, row: int) -> Tensor:
        variance = self.spread[row] / self.count[row].clamp(min=1)
        scale = torch.where(self.count[row] > 0, (variance + _EPS).rsqrt(), 1.0)
        return (tokens - self.mean[row].to(tokens.dtype)) * scale.to(tokens.dtype)


class PhiSTarget(MeasuredTarget):
    """PHI-S (RADIO, 2024): one scale for all channels, after a rotation that makes them alike.

    With the covariance ``U diag(l) U'`` and a Hadamard matrix ``H`` of C rows and columns it is
    ``H U' (t - mean) / sqrt(C) / sqrt(mean(l) + 1e-6)``: every channel has the variance one, and
    relations between tokens stay as they were, but for one factor. A rotation that changes at every
    update would be no target, so while the teacher is measured there is none: ``(t - mean) /
    sqrt(mean(l) + 1e-6)``.
    """

    name = 'phi_s'
    products = True
    _projections: Tensor | None = None  # of the buffer, in the tokens' type

    def _settle(self) -> None:
        """From now on ``spread`` is the projection that tokens are multiplied with."""
        for row in (CLASS, PATCH):
            count = self.count[row].item()
            if count:  # there may be no class token
                covariance = self.spread[row] / count
                projection = phi_s_projection(covariance.cpu().numpy())
                self.spread[row] = torch.from_numpy(projection).to(self.spread.device)
        broadcast(self.spread)  # eigenvectors are for each machine's library to choose

    def _forget(self) -> None:
        self._projections = None

    def _standardise(self, tokens: Tensor, row: int) -> Tensor:
        centred = tokens - self.mean[row].to(tokens.dtype)
        if self.is_settled:
            if self._projections is None or self._projections.dtype != tokens.dtype:
                self._projections = self.spread.to(tokens.dtype)
            return centred @ self._projections[row].T
        variance = self.spread[row].diagonal().mean() / self.count[row].clamp(min=1)
        scale = torch.where(self.count[row] > 0, (variance + _EPS).rsqrt(), 1.0)
        return centred * scale.to(tokens.dtype)


def phi_s_projection(covariance: np.ndarray) -> np.ndarray:
    """The matrix that centred tokens are multiplied with, float64 [C, C].

    Args:
        covariance: of the tokens, float64 [C, C].

    Raises:
        UserError: if no Hadamard matrix of C is known.
    """
    rotation = hadamard(len(covariance)) / np.sqrt(len(covariance))
    values, vectors = np.linalg.eigh(covariance)
    vectors = vectors[:, ::-1]  # the largest first
    # the sign of an eigenvector is free: its largest entry is positive
    largest = np.abs(vectors).argmax(axis=0)
    vectors = vectors * np.sign(vectors[largest, np.arange(len(vectors))])
    return rotation @ vectors.T / np.sqrt(values.mean() + _EPS)


def hadamard(order: int) -> np.ndarray:
    """A matrix H of entries 1 and -1, float64 [order, order], with ``H H' = order I``.

    Made by doubling (Sylvester 1867) from a matrix of Paley (1933), which exists for one more than
    a prime ``p = 3 mod 4`` and for twice one more than a prime ``p = 1 mod 4``. The widths of
    today's transformers are all among these.

    Raises:
        UserError: for an order without such a construction.
    """
    small, doublings = order, 0
    while small > 0:
        matrix = _of_order(small)
        if matrix is not None:
            for _ in range(doublings):
                matrix = np.block([[matrix, matrix], [matrix, -matrix]])
            return matrix
        if small % 2:
            break
        small, doublings = small // 2, doublings + 1
    raise UserError(
        f"target='phi_s' needs a Hadamard matrix of the teacher's width, and none is known here of "
        f"{order} rows: take target='mean_std'"
    )


def _of_order(order: int) -> np.ndarray | None:
    """By Paley, or the trivial ones; None if there is none of this order."""
    if order in (1, 2):
        return np.array([[1.0, 1.0], [1.0, -1.0]])[:order, :order]
    if order % 4:
        return None
    if _is_prime(order - 1):  # = 3 mod 4, since the order is a multiple of 4
        return np.eye(order) + _bordered(order - 1, -1.0)
    prime = order // 2 - 1
    if prime % 4 == 1 and _is_prime(prime):
        pair = np.array([[1.0, 1.0], [1.0, -1.0]])
        single = np.array([[1.0, -1.0], [-1.0, -1.0]])
        return np.kron(_bordered(prime, 1.0), pair) + np.kron(np.eye(prime + 1), single)
    return None


def _bordered(prime: int, sign: float) -> np.ndarray:
    """Quadratic characters of the differences of residues, with a border of ones."""
    character = np.full(prime, -1.0)
    character[np.arange(prime, dtype=np.int64) ** 2 % prime] = 1.0
    character[0] = 0.0
    residues = np.arange(prime)
    bordered = np.zeros((prime + 1, prime + 1))
    bordered[0, 1:], bordered[1:, 0] = 1.0, sign
    bordered[1:, 1:] = character[(residues[:, None] - residues) % prime]
    return bordered


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % factor for factor in range(2, isqrt(number) + 1))


#: Names of the standardisations; a mapping has arguments beside: ``dict(type='mean_std', ...)``.
TARGETS: dict[str, type[nn.Module]] = {
    'none': PlainTarget,
    'layernorm': LayerNormTarget,
    'mean_std': MeanStdTarget,
    'phi_s': PhiSTarget,
}


def measured_target(loss: Any) -> MeasuredTarget | None:
    """What a loss measures of its teacher by, if it does."""
    target = getattr(loss, 'target', None)
    return target if isinstance(target, MeasuredTarget) else None


def build_target(target: str | Mapping[str, Any]) -> nn.Module:
    """The standardisation of that name, or of a mapping with its ``type`` and arguments.

    Raises:
        ValueError: if there is none of that name.
    """
    arguments = {'type': target} if isinstance(target, str) else dict(target)
    name = str(arguments.pop('type', None))
    check_choice('target', name, TARGETS)
    return TARGETS[name](**arguments)
