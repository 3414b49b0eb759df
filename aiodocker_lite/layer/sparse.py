"""Maps of sparse files: which parts of a file are data, in the four ways GNU tar has written them.

GNU tar manual, "Storing Sparse Files": the old GNU header, and PAX formats 0.0, 0.1 and 1.0. All
raise ValueError with a reason; whoever reads the tar knows which layer it is about.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

Segment = tuple[int, int]
"""Offset and length of a piece of data; what lies between pieces is a hole."""
Number = Callable[[bytes], int]

_RECORD = 512
_FIELD = 12
_SEGMENT = 2 * _FIELD
_PREFIX = b"GNU.sparse."


def old_gnu_map(
    header: bytes, next_record: Callable[[], bytes], number: Number, limit: int
) -> tuple[int, list[Segment]]:
    """Real size and map of an entry of type `S`: four pieces in its header, more in records behind it.

    At most `limit` bytes of records are read.
    """
    found = _table(header, 386, 4, number)
    is_extended = header[482]
    while is_extended:
        limit -= _RECORD
        if limit < 0:
            raise ValueError("its map is too large")
        record = next_record()
        found += _table(record, 0, 21, number)
        is_extended = record[504]
    return number(header[483 : 483 + _FIELD]), found


def _table(record: bytes, start: int, count: int, number: Number) -> list[Segment]:
    found = []
    for position in range(start, start + count * _SEGMENT, _SEGMENT):
        if not record[position]:
            break
        offset = number(record[position : position + _FIELD])
        found.append((offset, number(record[position + _FIELD : position + _SEGMENT])))
    return found


def is_pax_sparse(pax: dict[bytes, bytes]) -> bool:
    """The records describe a sparse file."""
    return any(key.startswith(_PREFIX) for key in pax)


def has_map_in_data(pax: dict[bytes, bytes]) -> bool:
    """Format 1.0, whose map is the beginning of the data."""
    return (pax.get(b"GNU.sparse.major"), pax.get(b"GNU.sparse.minor")) == (b"1", b"0")


def pax_real_size(pax: dict[bytes, bytes]) -> int:
    """The size of the file with its holes."""
    return _decimal(pax.get(b"GNU.sparse.realsize") or pax.get(b"GNU.sparse.size") or b"")


def pax_map(pax: dict[bytes, bytes]) -> list[Segment]:
    """The map of formats 0.0 and 0.1: offsets and lengths in turn, with commas."""
    text = pax.get(b"GNU.sparse.map", b"")
    numbers = [_decimal(part) for part in text.split(b",")] if text else []
    if len(numbers) % 2 or b"GNU.sparse.numblocks" not in pax:
        raise ValueError("its map is incomplete")
    if 2 * _decimal(pax[b"GNU.sparse.numblocks"]) != len(numbers):
        raise ValueError("its map has another length than it says")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def map_from_data(next_record: Callable[[], bytes], limit: int) -> list[Segment]:
    """The map of format 1.0, one number a line; at most `limit` bytes are read."""
    text, taken = b"", 0
    lines: list[bytes] = []
    wanted = 1
    while len(lines) < wanted:
        if taken >= limit:
            raise ValueError("its map is too large")
        text += next_record()
        taken += _RECORD
        *whole, text = text.split(b"\n")
        lines += whole
        if lines:
            wanted = 1 + 2 * _decimal(lines[0])
    numbers = [_decimal(line) for line in lines[1:wanted]]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def check_map(segments: Sequence[Segment], size: int, stored: int) -> None:
    """Pieces ascend, do not overlap, lie in the file, and are as long together as what is stored."""
    end = 0
    for offset, length in segments:
        if offset < end or length < 0:
            raise ValueError("the pieces of its map overlap or go backwards")
        end = offset + length
    if end > size:
        raise ValueError("a piece of its map lies behind its end")
    if sum(length for _, length in segments) != stored:
        raise ValueError("its map is about another amount of data than is stored")


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 20:
        raise ValueError("its map has something that is no number")
    return int(text)
