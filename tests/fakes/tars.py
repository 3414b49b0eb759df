"""Tar bytes packed by hand, honest or hostile: what `tarfile` will not write."""

from __future__ import annotations

END = bytes(1024)


def header(
    name: bytes,
    kind: bytes = b"0",
    *,
    size: int = 0,
    link: bytes = b"",
    mode: int = 0o644,
    uid: int = 0,
    gid: int = 0,
    mtime: int = 1_600_000_000,
    device: tuple[int, int] = (0, 0),
    prefix: bytes = b"",
    magic: bytes = b"ustar\x0000",
    **raw: bytes,
) -> bytes:
    """One 512-byte header; `raw` replaces a field (size, mode, uid, mtime, checksum) by these bytes."""

    def octal(value: int, width: int) -> bytes:
        return b"%0*o\0" % (width - 1, value)

    fields = [
        name[:100].ljust(100, b"\0"),
        raw.get("raw_mode", octal(mode, 8)),
        raw.get("raw_uid", octal(uid, 8)),
        raw.get("raw_gid", octal(gid, 8)),
        raw.get("raw_size", octal(size, 12)),
        raw.get("raw_mtime", octal(mtime, 12)),
        b" " * 8,
        kind,
        link[:100].ljust(100, b"\0"),
        magic,
        bytes(64),
        octal(device[0], 8),
        octal(device[1], 8),
        prefix.ljust(155, b"\0"),
        bytes(12),
    ]
    packed = b"".join(fields)
    assert len(packed) == 512
    checksum = raw.get("raw_checksum", b"%06o\0 " % sum(packed))
    return packed[:148] + checksum + packed[156:]


def padded(content: bytes) -> bytes:
    """Content, filled up to whole records."""
    return content + bytes(-len(content) % 512)


def file(name: bytes, content: bytes = b"", **how: int) -> bytes:
    return header(name, size=len(content), **how) + padded(content)  # type: ignore[arg-type]


def directory(name: bytes, mode: int = 0o755, **how: int) -> bytes:
    return header(name, b"5", mode=mode, **how)  # type: ignore[arg-type]


def symlink(name: bytes, target: bytes) -> bytes:
    return header(name, b"2", link=target, mode=0o777)


def hard_link(name: bytes, target: bytes) -> bytes:
    return header(name, b"1", link=target)


def pax(records: dict[bytes, bytes], kind: bytes = b"x") -> bytes:
    """A PAX extension header with these records."""
    return pax_raw(b"".join(record(key, value) for key, value in records.items()), kind)


def pax_raw(content: bytes, kind: bytes = b"x") -> bytes:
    return header(b"PaxHeaders/x", kind, size=len(content)) + padded(content)


def record(key: bytes, value: bytes) -> bytes:
    """One ``length key=value\\n``, its length counting itself."""
    body = b" " + key + b"=" + value + b"\n"
    length = len(body)
    while len(str(length)) + len(body) != length:
        length = len(str(length)) + len(body)
    return str(length).encode() + body


def gnu_long(text: bytes, kind: bytes = b"L") -> bytes:
    content = text + b"\0"
    return header(b"././@LongLink", kind, size=len(content), magic=b"ustar  \x00") + padded(content)
