"""Hadamard matrices: orthogonal rotations all of whose entries have the same magnitude."""

from __future__ import annotations

from math import isqrt

import numpy as np

from ...errors import UserError


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
