"""The byte-flip fuzzer: a good file, and many that are nearly it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

Generator = np.random.Generator


def mutated(content: bytes, number: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """``number`` damaged copies of ``content``, each with what was done to it; always the same."""
    ways = list(_WAYS)
    for i in range(number):
        way = ways[i % len(ways)]
        name = way.__name__.lstrip('_')
        yield f'{name} #{i}', bytes(way(bytearray(content), np.random.default_rng((seed, i))))


def _flip_one_bit(data: bytearray, rng: Generator) -> bytearray:
    data[rng.integers(len(data))] ^= 1 << rng.integers(8)
    return data


def _flip_in_the_head(data: bytearray, rng: Generator) -> bytearray:
    for _ in range(3):
        data[rng.integers(min(len(data), 64))] = rng.integers(256)
    return data


def _flip_many_bytes(data: bytearray, rng: Generator) -> bytearray:
    for _ in range(max(3, len(data) // 50)):
        data[rng.integers(len(data))] = rng.integers(256)
    return data


def _cut_off(data: bytearray, rng: Generator) -> bytearray:
    return data[: rng.integers(1, len(data))]


def _cut_out(data: bytearray, rng: Generator) -> bytearray:
    start, size = rng.integers(len(data)), rng.integers(1, 1 + len(data) // 4)
    return data[:start] + data[start + size :]


def _zeros_inside(data: bytearray, rng: Generator) -> bytearray:
    start = rng.integers(len(data))
    size = min(rng.integers(1, 1 + len(data) // 4), len(data) - start)
    data[start : start + size] = bytes(size)
    return data


def _twice(data: bytearray, rng: Generator) -> bytearray:
    start = rng.integers(len(data))
    return data[:start] + data + data[start:]


def _large_number(data: bytearray, rng: Generator) -> bytearray:
    """Where a length stands, it is one that no file has."""
    start = rng.integers(len(data))
    return data[:start] + b'\xff' * 8 + data[start + 8 :]


def _junk_behind(data: bytearray, rng: Generator) -> bytearray:
    return data + rng.bytes(100)


_WAYS: tuple[Callable[[bytearray, Generator], bytearray], ...] = (
    _flip_one_bit,
    _flip_in_the_head,
    _flip_many_bytes,
    _cut_off,
    _cut_out,
    _zeros_inside,
    _twice,
    _large_number,
    _junk_behind,
)
