"""Is a packed file whole? Asked when it is opened, since LMDB asks nobody.

LMDB maps its file into memory: what is cut off at the end ends the process by SIGBUS when it is
read, without a word. So the length is compared with what the file's own head says, and blocks with
checksums that packing has put behind LMDB's last page, where LMDB does not look.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..errors import DataError

_BLOCK = 1 << 20  # bytes that have a checksum together
_LOOKS = 64  # blocks that are read when a file is opened: the first, the last, and between
# checksum of the checksums, number of blocks, bytes before the checksums, and a mark, at the end
_TAIL = struct.Struct('<IIQ8s')
_MARK = b'g2sdpack'
# LMDB's head: 16 bytes of a page, then magic number, version, address, size of the map; two trees
# of 48 bytes, of which the first has the page size in its first 4 bytes; the last page in use
_HEAD = struct.Struct('<16xIIQQI44x48xQ')
_MAGIC = 0xBEEFC0DE
_checked: set[tuple[str, int, int]] = set()


def add_checksums(file: Path) -> None:
    """Append the checksums of a file that is complete, and write it to the disk."""
    with file.open('r+b') as stream:
        length = stream.seek(0, os.SEEK_END)
        sums = np.fromiter(_sums(stream, range(_blocks(length)), length), '<u4')
        table = sums.tobytes()
        stream.seek(length)
        stream.write(table + _TAIL.pack(zlib.crc32(table), len(sums), length, _MARK))
        stream.flush()
        os.fsync(stream.fileno())


def check_whole(file: str, every_block: bool = False) -> None:
    """Look at a file's length and at some of its checksums, once in a process.

    Files of version 0.1 have no checksums: of those the length is compared alone.

    Args:
        file: an LMDB file.
        every_block: read the whole file.

    Raises:
        DataError: if it is cut off, damaged or no LMDB file.
    """
    stat = os.stat(file)
    key = os.path.realpath(file), stat.st_size, stat.st_mtime_ns
    if key in _checked and not every_block:
        return
    with open(file, 'rb') as stream:
        expected = _length_by_head(file, stream)
        if stat.st_size < expected:
            raise DataError(
                f'{file} is cut off: {stat.st_size} of {expected} bytes; copy it again, or pack '
                'it again with tools/pack_data.py'
            )
        _check_blocks(file, stream, stat.st_size, every_block)
    _checked.add(key)


def _length_by_head(file: str, stream: BinaryIO) -> int:
    """Bytes up to the last page in use: the larger number of the two heads that LMDB alternates."""
    lengths = []
    place = 0
    for _ in range(2):
        stream.seek(place)
        head = stream.read(_HEAD.size)
        if len(head) < _HEAD.size:
            break
        magic, _version, _address, _map, page, last = _HEAD.unpack(head)
        if magic != _MAGIC or page not in (1 << n for n in range(9, 17)):
            break
        lengths.append((last + 1) * page)
        place = page
    if len(lengths) < 2:
        raise DataError(f'{file} is not packed data, or damaged: pack it with tools/pack_data.py')
    return max(lengths)


def _check_blocks(file: str, stream: BinaryIO, size: int, every_block: bool) -> None:
    if size < _TAIL.size:
        return
    stream.seek(size - _TAIL.size)
    crc, number, length, mark = _TAIL.unpack(stream.read(_TAIL.size))
    if mark != _MARK:
        return
    table = b''
    if number == _blocks(length) and length + 4 * number + _TAIL.size == size:
        stream.seek(length)
        table = stream.read(4 * number)
    if zlib.crc32(table) != crc or len(table) != 4 * number:
        raise DataError(_damaged(file))
    sums = np.frombuffer(table, '<u4')
    count = number if every_block else min(number, _LOOKS)
    blocks = np.linspace(0, number - 1, count).round().astype(int).tolist()
    for block, found in zip(blocks, _sums(stream, blocks, length), strict=True):
        if found != sums[block]:
            raise DataError(f'{_damaged(file)} (bytes from {block * _BLOCK})')


def _damaged(file: str) -> str:
    return (
        f'{file} is damaged: checksums differ; copy it again, or pack it again with '
        'tools/pack_data.py'
    )


def _blocks(length: int) -> int:
    return -(-length // _BLOCK)


def _sums(stream: BinaryIO, blocks: range | list[int], length: int) -> Iterator[int]:
    for block in blocks:
        stream.seek(block * _BLOCK)
        yield zlib.crc32(stream.read(min(_BLOCK, length - block * _BLOCK)))
