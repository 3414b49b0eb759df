"""Mutations of layers that stay layers enough to be read: fields change, and checksums are mended."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable, Sequence
from random import Random

from tests.cases.case import zstd_frame
from tests.fakes.tars import header, padded, record

MOST = 1 << 16
"""Bytes of the largest input."""

_RECORD = 512
_FIELDS = {
    "name": (0, 100),
    "mode": (100, 108),
    "uid": (108, 116),
    "gid": (116, 124),
    "size": (124, 136),
    "mtime": (136, 148),
    "checksum": (148, 156),
    "kind": (156, 157),
    "link": (157, 257),
    "magic": (257, 265),
    "major": (329, 337),
    "minor": (337, 345),
    "prefix": (345, 500),
    "map": (386, 482),
    "more": (482, 483),
    "real size": (483, 495),
}
_TEXTS = ("name", "link", "prefix")
_KINDS = b"0\x001234567gxLKSVDMNA\xff"
_PARTS = (
    b"a", b"b", b"d", b"dir", b"e", b"f", b"link", b"outside", b"root-evil", b"secret", b"x", b"..", b".", b"",
    b".wh.a", b".wh.d", b".wh.x", b".wh..wh..opq", b".wh..wh.plnk", b".wh.", b".wh...", b"\xff\xfe", b"new\nline",
    b"n" * 255, b"n" * 256, b"\0", b"etc", b"proc", b"self", b"fd",
)  # fmt: skip
_NUMBERS = (
    0, 1, 2, 7, 8, 10, 511, 512, 513, 1000, 4095, 4096, 65534, 65536, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 2,
    (1 << 32) - 1, 1 << 33, 1 << 40, (1 << 62), (1 << 63) - 1, 1 << 63, (1 << 64) - 1, -1, -512, -(1 << 63),
)  # fmt: skip
_KEYS = (
    b"path", b"linkpath", b"size", b"uid", b"gid", b"mtime", b"atime", b"ctime", b"comment", b"hdrcharset", b"uname",
    b"SCHILY.xattr.user.a", b"SCHILY.xattr.", b"SCHILY.xattr.trusted.overlay.opaque", b"SCHILY.xattr.security.capability",
    b"SCHILY.xattr.user.overlay.whiteout", b"SCHILY.xattr.system.posix_acl_access", b"SCHILY.dev", b"LIBARCHIVE.xattr.user.a",
    b"GNU.sparse.major", b"GNU.sparse.minor", b"GNU.sparse.name", b"GNU.sparse.realsize", b"GNU.sparse.size",
    b"GNU.sparse.map", b"GNU.sparse.numblocks", b"GNU.sparse.offset", b"GNU.sparse.numbytes", b"",
)  # fmt: skip


def mutated(tar: bytes, others: Sequence[bytes], chance: Random) -> bytes:
    """A few changes to an archive, most of which leave its checksums right."""
    chunks = _chunks(tar) or [header(b"f")]
    for _ in range(chance.choice((1, 1, 2, 3, 5))):
        chance.choice(_CHANGES)(chunks, others, chance)
        chunks = chunks or [header(b"f")]
    if chance.random() < 0.95:
        chunks = [_mended(chunk) for chunk in chunks]
    changed = b"".join(chunks)
    if chance.random() < 0.05:
        changed = _scratched(changed, chance)
    return changed[:MOST]


def _chunks(tar: bytes) -> list[bytes]:
    """Headers, each with its data, as far as they can be told."""
    found, position = [], 0
    while position < len(tar):
        size = 0
        digits = tar[position + 124 : position + 136].strip(b"\0 ")
        if digits and not digits.strip(b"01234567"):
            size = min(int(digits, 8), len(tar))
        end = position + _RECORD + size + -size % _RECORD
        found.append(tar[position:end])
        position = end
    return found


def _mended(chunk: bytes) -> bytes:
    if len(chunk) < _RECORD or not chunk[:_RECORD].strip(b"\0"):
        return chunk
    total = sum(chunk[:148]) + sum(chunk[156:_RECORD]) + 256
    return chunk[:148] + b"%06o\0 " % total + chunk[156:]


def renamed(tar: bytes, old: bytes, new: bytes) -> bytes:
    """The same archive with another path in the place of one that is as long."""
    return b"".join(_mended(chunk.replace(old, new)) if old in chunk else chunk for chunk in _chunks(tar))


# --- values ------------------------------------------------------------------------------------


def _path(chance: Random) -> bytes:
    parts = chance.choices(_PARTS, k=chance.choice((1, 1, 2, 2, 3, 6)))
    return b"/" * (chance.random() < 0.2) + b"/".join(parts) + b"/" * (chance.random() < 0.1)


def _number(chance: Random) -> int:
    near = chance.choice(_NUMBERS) + chance.choice((0, 0, 0, -1, 1))
    return near if chance.random() < 0.8 else chance.getrandbits(chance.randrange(1, 66))


def _digits(chance: Random, width: int) -> bytes:
    """A number as a header has it: octal in several ways, base-256, or nothing that is one."""
    number = _number(chance)
    match chance.randrange(6):
        case 0:
            low = number & ((1 << 8 * width) - 1)
            return bytes([low.to_bytes(width, "big")[0] | 0x80]) + low.to_bytes(width, "big")[1:]
        case 1:
            return (b"%o" % abs(number)).rjust(width)
        case 2:
            return (b" %o \0" % abs(number)).ljust(width, b"\0")
        case 3:
            return chance.randbytes(width)
        case _:
            return b"%0*o\0" % (width - 1, abs(number) % 8 ** (width - 1))


def _value(key: bytes, chance: Random) -> bytes:
    if chance.random() < 0.1:
        return chance.randbytes(chance.randrange(20))
    if key in (b"path", b"linkpath", b"GNU.sparse.name"):
        return _path(chance)
    if key == b"GNU.sparse.map":
        return b",".join(b"%d" % _number(chance) for _ in range(chance.randrange(6)))
    if key.startswith(b"SCHILY.xattr"):
        return chance.randbytes(chance.choice((0, 1, 20, 4096)))
    if key.endswith(b"time"):
        return b"%d.%d" % (_number(chance), abs(_number(chance)))
    return b"%d" % (chance.randrange(4) if chance.random() < 0.5 else _number(chance))


# --- changes -----------------------------------------------------------------------------------

_Change = Callable[[list[bytes], Sequence[bytes], Random], None]


def _some(chunks: list[bytes], chance: Random) -> int:
    return chance.randrange(len(chunks))


def _set_field(chunks: list[bytes], others: Sequence[bytes], chance: Random) -> None:
    at = _some(chunks, chance)
    name = chance.choice(list(_FIELDS))
    start, end = _FIELDS[name]
    width = end - start
    if name in _TEXTS:
        value = _path(chance)
    elif name == "kind":
        value = bytes([chance.choice(_KINDS)])
    elif name == "magic":
        value = chance.choice(
            (b"ustar\x0000", b"ustar  \0", bytes(8), b"ustar\x00\x00\x00", chance.randbytes(8))
        )
    elif name == "map":
        value = b"".join(_digits(chance, 12) for _ in range(8))
    elif name == "more":
        value = bytes([chance.choice((0, 1, 255))])
    else:
        value = _digits(chance, width)
    chunks[at] = chunks[at][:start] + value[:width].ljust(width, b"\0") + chunks[at][end:]


def _add_pax(chunks: list[bytes], others: Sequence[bytes], chance: Random) -> None:
    content = b""
    for key in chance.choices(_KEYS, k=chance.randrange(1, 5)):
        line = record(key, _value(key, chance))
        if chance.random() < 0.05:
            line = b"%d" % _number(chance) + line[line.index(b" ") :]
        content += line
    kind = b"g" if chance.random() < 0.1 else b"x"
    chunks.insert(_some(chunks, chance), header(b"PaxHeaders/x", kind, size=len(content)) + padded(content))


def _add_gnu_long(chunks: list[bytes], others: Sequence[bytes], chance: Random) -> None:
    content = _path(chance) * chance.choice((1, 1, 20)) + b"\0" * chance.randrange(2)
    kind = chance.choice((b"L", b"K"))
    chunks.insert(_some(chunks, chance), header(b"././@LongLink", kind, size=len(content)) + padded(content))


def _add_entry(chunks: list[bytes], others: Sequence[bytes], chance: Random) -> None:
    kind = chance.choice((b"0", b"1", b"2", b"2", b"3", b"5", b"5", b"6"))
    content = chance.randbytes(chance.choice((0, 1, 600))) if kind == b"0" else b""
    packed = header(
        _path(chance),
        kind,
        size=len(content),
        link=_path(chance) if kind in b"12" else b"",
        mode=chance.choice((0, 0o444, 0o644, 0o755, 0o7777)),
        device=(chance.randrange(3), chance.randrange(3)),
    )
    chunks.insert(_some(chunks, chance), packed + padded(content))


def _splice(chunks: list[bytes], others: Sequence[bytes], chance: Random) -> None:
    """Entries of another archive go in here."""
    theirs = _chunks(chance.choice(others))
    if theirs:
        start = chance.randrange(len(theirs))
        at = _some(chunks, chance)
        chunks[at:at] = theirs[start : start + chance.randrange(1, 5)]


def _repeat(chunks: list[bytes], others: Sequence[bytes], chance: Random) -> None:
    chunks.insert(_some(chunks, chance), chance.choice(chunks))


def _drop(chunks: list[bytes], others: Sequence[bytes], chance: Random) -> None:
    del chunks[_some(chunks, chance)]


def _swap(chunks: list[bytes], others: Sequence[bytes], chance: Random) -> None:
    one, other = _some(chunks, chance), _some(chunks, chance)
    chunks[one], chunks[other] = chunks[other], chunks[one]


def _copy_name(chunks: list[bytes], others: Sequence[bytes], chance: Random) -> None:
    """One entry gets the name, or leads to the name, of another."""
    at, name = _some(chunks, chance), chance.choice(chunks)[:100]
    start = chance.choice((0, 157))
    chunks[at] = chunks[at][:start] + name + chunks[at][start + 100 :]


def _change_data(chunks: list[bytes], others: Sequence[bytes], chance: Random) -> None:
    at = _some(chunks, chance)
    data = chunks[at][_RECORD:]
    if data:
        chunks[at] = chunks[at][:_RECORD] + _scratched(data, chance)


def _cut(chunks: list[bytes], others: Sequence[bytes], chance: Random) -> None:
    at = _some(chunks, chance)
    chunks[at] = chunks[at][: chance.randrange(len(chunks[at]) + 1)]
    if chance.random() < 0.5:
        del chunks[at + 1 :]


_CHANGES: tuple[_Change, ...] = (
    _set_field, _set_field, _set_field, _set_field, _add_pax, _add_pax, _add_gnu_long, _add_entry, _add_entry,
    _splice, _splice, _repeat, _drop, _swap, _copy_name, _copy_name, _change_data, _cut,
)  # fmt: skip


def _scratched(data: bytes, chance: Random) -> bytes:
    """Bytes changed, put in, left out, or said twice, whatever they mean."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 8))):
        at = chance.randrange(len(changed) + 1)
        match chance.randrange(5):
            case 0:
                changed[at : at + 1] = chance.randbytes(1)
            case 1:
                changed[at:at] = chance.randbytes(chance.choice((1, 4, 512)))
            case 2:
                del changed[at : at + chance.choice((1, 4, 512))]
            case 3:
                changed[at:at] = changed[at : at + chance.choice((1, 16, 512))]
            case _:
                changed[at : at + 1] = (
                    bytes([changed[at] ^ 1 << chance.randrange(8)]) if at < len(changed) else b""
                )
    return bytes(changed)


# --- compression -------------------------------------------------------------------------------


def compressed(plain: bytes, chance: Random) -> bytes:
    """Bytes as one of the compressors gives them, in one member or frame or in several."""
    half = chance.randrange(len(plain) + 1)
    match chance.randrange(5):
        case 0:
            return plain
        case 1:
            return gzip.compress(plain, 1, mtime=0)
        case 2:
            return _gzip_member(plain[:half], chance) + _gzip_member(plain[half:], chance)
        case 3:
            return zstd_frame(plain[:half]) + _skippable(chance) + zstd_frame(plain[half:])
        case _:
            return _skippable(chance) + zstd_frame(plain)


def _gzip_member(plain: bytes, chance: Random) -> bytes:
    """With any of the optional parts of a header (RFC 1952, 2.3)."""
    flags = chance.getrandbits(5)
    head = b"\x1f\x8b\x08" + bytes([flags]) + bytes(4) + b"\0\xff"
    if flags & 4:
        extra = chance.randbytes(chance.choice((0, 1, 40)))
        head += struct.pack("<H", len(extra)) + extra
    for flag in (8, 16):
        if flags & flag:
            head += b"n" * chance.choice((0, 1, 300)) + b"\0"
    if flags & 2:
        head += struct.pack("<H", zlib.crc32(head) & 0xFFFF)
    deflate = zlib.compressobj(chance.choice((0, 1, 9)), wbits=-15)
    body = deflate.compress(plain) + deflate.flush()
    return head + body + struct.pack("<II", zlib.crc32(plain), len(plain))


def _skippable(chance: Random) -> bytes:
    content = bytes(chance.choice((0, 1, 100)))
    return struct.pack("<II", 0x184D2A50 + chance.randrange(16), len(content)) + content


def mutated_blob(tar: bytes, others: Sequence[bytes], chance: Random) -> bytes:
    """A changed archive, compressed; now and then the compressed bytes change, too."""
    blob = compressed(mutated(tar, others, chance), chance)
    if chance.random() < 0.3:
        blob = _scratched(blob, chance)
    return blob[:MOST] + bytes(chance.choice((0, 0, 0, 7)))
