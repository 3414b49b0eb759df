"""A tar stream as entries: ustar, PAX and GNU headers, read as Go's archive/tar reads them.

POSIX.1-2001 pax(1), "ustar Interchange Format" and "pax Extended Header"; GNU tar manual,
"Basic Tar Format". Two readers that disagree about where an entry begins are a hole
(CVE-2025-62518), so the rules of precedence are Go's, which Docker and containerd have.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from zlib import adler32

from aiodocker_lite.errors import InvalidLayer, LimitExceeded, UnsafeEntry
from aiodocker_lite.layer import pax, sparse
from aiodocker_lite.settings import Limits

REGULAR = b"0"
HARD_LINK = b"1"
SYMLINK = b"2"
CHARACTER_DEVICE = b"3"
BLOCK_DEVICE = b"4"
DIRECTORY = b"5"
FIFO = b"6"

_PAX_LOCAL = b"x"
_PAX_GLOBAL = b"g"
_GNU_LONG_NAME = b"L"
_GNU_LONG_LINK = b"K"
_EXTENSIONS = (_PAX_LOCAL, _PAX_GLOBAL, _GNU_LONG_NAME, _GNU_LONG_LINK)
_REGULAR_SPELLINGS = (b"0", b"\0", b"7")
_HEADER_ONLY = (HARD_LINK, SYMLINK, CHARACTER_DEVICE, BLOCK_DEVICE, DIRECTORY, FIFO)
_VOLUME_LABEL = b"V"

_RECORD = 512
_ZEROS = bytes(_RECORD)
_USTAR = b"ustar\x00"
_GNU = b"ustar  \x00"
_XATTR = b"SCHILY.xattr."
_GNU_SPARSE = b"S"
_NANO = 1_000_000_000
_TIME_MAX = (1 << 63) // _NANO - 1
_RATIO_FROM = 1 << 30
_ID_MAX = (1 << 32) - 2
_MAJOR_MAX = (1 << 12) - 1
_MINOR_MAX = (1 << 20) - 1


@dataclass(slots=True)
class Entry:
    """One member of a layer; names are bytes, times nanoseconds, sizes bytes."""

    kind: bytes
    name: bytes
    link: bytes
    size: int
    mode: int
    uid: int
    gid: int
    mtime: int
    device: tuple[int, int] = (0, 0)
    xattrs: dict[bytes, bytes] = field(default_factory=dict)
    segments: list[sparse.Segment] | None = None
    """Where the data goes in a file of this size; None: all of it, without holes."""

    @property
    def printable(self) -> str:
        """The name for an error message."""
        return self.name.decode(errors="backslashreplace")


class TarReader:
    """Entries of a stream of plain blocks, and the data of the entry that came last.

    The stream is read to its end, also behind the end-of-archive mark, so that whoever hashes
    the blocks has seen them all (T05).
    """

    def __init__(
        self, blocks: Iterator[bytes], layer: str, limits: Limits, packed: int | None = None
    ) -> None:
        """`packed` is the size of what the blocks were made from, where that says what is too much."""
        self._blocks = blocks
        self._layer = layer
        self._limits = limits
        # Every entry may have a header, and an extension and padding of the same size.
        self._read = 0
        self._read_max, self._read_limit = limits.unpacked_bytes + 2048 * limits.entries, "unpacked_bytes"
        if packed is not None and (by_ratio := max(limits.ratio * packed, _RATIO_FROM)) < self._read_max:
            self._read_max, self._read_limit = by_ratio, "ratio"
        self._buffer = b""
        self._position = 0
        self._data_left = 0
        self._padding = 0

    def __iter__(self) -> Iterator[Entry]:
        count, most = 0, self._limits.entries
        while (entry := self._next_entry()) is not None:
            count += 1
            if count > most:
                what = f"the number of entries in layer {self._layer}"
                raise LimitExceeded(what, most, count, "entries")
            yield entry
        self._drain()

    def data(self) -> Iterator[memoryview]:
        """The content of the entry that came last, in pieces as they are at hand."""
        while self._data_left:
            if self._position == len(self._buffer):
                self._more("its tar data ends in the middle of a file")
            end = min(len(self._buffer), self._position + self._data_left)
            piece = memoryview(self._buffer)[self._position : end]
            self._position = end
            self._data_left -= len(piece)
            yield piece

    # --- entries -----------------------------------------------------------------------------

    def _next_entry(self) -> Entry | None:
        records: dict[bytes, bytes] = {}
        long_name = long_link = None
        while True:
            header = self._header()
            if header is None:
                if records or long_name is not None or long_link is not None:
                    raise InvalidLayer(self._layer, "its tar data ends after an extension header")
                return None
            kind = header[156:157]
            if kind not in _EXTENSIONS:
                return self._entry(header, kind, records, long_name, long_link)
            if b"size" in records:
                # T01: a size for the file would be taken for the size of this header, or not.
                raise InvalidLayer(self._layer, "a PAX size stands before another extension header")
            content = self._extension(header)
            if kind == _PAX_LOCAL:
                try:
                    records = pax.parse_records(content)
                except ValueError as error:
                    raise InvalidLayer(self._layer, str(error)) from error
            elif kind == _GNU_LONG_NAME:
                long_name = content.split(b"\0", 1)[0]
            elif kind == _GNU_LONG_LINK:
                long_link = content.split(b"\0", 1)[0]
            # Global PAX headers hold comments of git-archive and the like: ignored, as Docker does.

    def _entry(
        self,
        header: bytes,
        kind: bytes,
        records: dict[bytes, bytes],
        long_name: bytes | None,
        long_link: bytes | None,
    ) -> Entry:
        name, link = self._names(header)
        entry = Entry(
            kind,
            name,
            link,
            self._number(header[124:136], "size"),
            self._number(header[100:108], "mode") & 0o7777,
            self._number(header[108:116], "owner"),
            self._number(header[116:124], "group"),
            _clamped(self._number(header[136:148], "time")) * _NANO,
        )
        if records:
            self._apply_pax(entry, records)
        if long_name is not None:
            entry.name = long_name
        if long_link is not None:
            entry.link = long_link
        if kind in _REGULAR_SPELLINGS:
            # Before POSIX, a directory was a file whose name ends in a slash.
            entry.kind = DIRECTORY if entry.name.endswith(b"/") else REGULAR
        elif kind in (CHARACTER_DEVICE, BLOCK_DEVICE):
            major, minor = (self._number(header[n : n + 8], "device number") for n in (329, 337))
            if not (0 <= major <= _MAJOR_MAX and 0 <= minor <= _MINOR_MAX):
                reason = f"there is no device {major}:{minor}"
                raise UnsafeEntry(self._layer, entry.printable, reason)
            entry.device = major, minor
        elif kind == _GNU_SPARSE:
            entry.kind = REGULAR
        elif kind not in _HEADER_ONLY and kind != _VOLUME_LABEL:
            raise UnsafeEntry(self._layer, entry.printable, f"its type {kind!r} is not supported")
        self._check(entry)
        if entry.kind in _HEADER_ONLY:
            # As Go has it: what other writers put here as a size (of a link's target) has no data.
            entry.size = 0
        self._data_left = entry.size
        self._padding = -entry.size % _RECORD
        if entry.kind == REGULAR and (kind == _GNU_SPARSE or sparse.is_pax_sparse(records)):
            try:
                self._find_holes(entry, header if kind == _GNU_SPARSE else None, records)
            except ValueError as error:
                raise UnsafeEntry(self._layer, entry.printable, f"a sparse file: {error}") from error
        return entry

    def _find_holes(self, entry: Entry, header: bytes | None, records: dict[bytes, bytes]) -> None:
        """Give a sparse entry its real size and its map. Raises ValueError."""
        if header is not None:
            size, segments = sparse.old_gnu_map(
                header,
                self._sparse_record,
                lambda text: self._number(text, "sparse map"),
                self._limits.header_bytes,
            )
        elif sparse.has_map_in_data(records):
            size = sparse.pax_real_size(records)
            segments = sparse.map_from_data(self._data_record, self._limits.header_bytes)
        else:
            size, segments = sparse.pax_real_size(records), sparse.pax_map(records)
        sparse.check_map(segments, size, self._data_left)
        entry.size, entry.segments = size, segments

    def _sparse_record(self) -> bytes:
        """A record with more of an old map; it stands between the header and the data."""
        record = self._take(_RECORD)
        if record is None:
            raise ValueError("its map is truncated")
        return record

    def _data_record(self) -> bytes:
        """The next record of the data itself."""
        if self._data_left < _RECORD:
            raise ValueError("its map is truncated")
        self._data_left -= _RECORD
        return self._sparse_record()

    def _check(self, entry: Entry) -> None:
        name_max = self._limits.name_bytes
        if len(entry.name) > name_max or len(entry.link) > name_max:
            longest = max(len(entry.name), len(entry.link))
            what = f"the length of a name in layer {self._layer}"
            raise LimitExceeded(what, name_max, longest, "name_bytes")
        if b"\0" in entry.name or b"\0" in entry.link:
            raise UnsafeEntry(self._layer, entry.printable, "its name has a zero byte")
        if entry.size < 0:
            raise UnsafeEntry(self._layer, entry.printable, f"its size is {entry.size}")
        if not (0 <= entry.uid <= _ID_MAX and 0 <= entry.gid <= _ID_MAX):
            owner = f"{entry.uid}:{entry.gid}"
            raise UnsafeEntry(self._layer, entry.printable, f"its owner {owner} is not a user and group ID")

    def _names(self, header: bytes) -> tuple[bytes, bytes]:
        name = header[:100].split(b"\0", 1)[0]
        if header[257:263] == _USTAR and header[345] != 0:
            name = header[345:500].split(b"\0", 1)[0] + b"/" + name
        return name, header[157:257].split(b"\0", 1)[0]

    def _number(self, text: bytes, what: str) -> int:
        """Octal digits, or GNU's base-256 where the first bit is set (two's complement)."""
        try:
            return int(text.rstrip(b"\0 ") or b"0", 8)
        except ValueError:
            pass
        if text[0] & 0x80:
            width = 8 * len(text) - 1
            number = int.from_bytes(text, "big") & ((1 << width) - 1)
            return number - (1 << width) if text[0] & 0x40 else number
        digits = text.split(b"\0", 1)[0].strip(b" ")
        if digits and digits.strip(b"01234567"):
            raise InvalidLayer(self._layer, f"a tar header has a {what} that is no number")
        return int(digits or b"0", 8)

    def _apply_pax(self, entry: Entry, records: dict[bytes, bytes]) -> None:
        for key, value in records.items():
            if key == b"path":
                entry.name = value or entry.name
            elif key == b"linkpath":
                entry.link = value or entry.link
            elif key in (b"size", b"uid", b"gid"):
                if not value.isdigit():
                    if not value:
                        continue
                    raise UnsafeEntry(self._layer, entry.printable, f"its PAX {key.decode()} is no number")
                setattr(entry, key.decode(), int(value[:20]))
            elif key == b"mtime":
                try:
                    seconds, nanoseconds = pax.parse_time(value)
                except ValueError as error:
                    raise UnsafeEntry(self._layer, entry.printable, str(error)) from error
                entry.mtime = _clamped(seconds) * _NANO + nanoseconds
            elif key.startswith(_XATTR):
                entry.xattrs[key[len(_XATTR) :]] = value
            elif key == pax.SPARSE_NAME:
                entry.name = value

    # --- bytes -------------------------------------------------------------------------------

    def _header(self) -> bytes | None:
        """The next header, checksum verified; None at the end of the archive."""
        self._skip_data()
        header = self._take(_RECORD)
        if header is None or header == _ZEROS:
            return None
        # The field itself counts as eight spaces; historic writers summed signed bytes.
        unsigned = _sum(header[:256]) + _sum(header[256:]) - _sum(header[148:156]) + 8 * 32
        stored = _checksum(header[148:156])
        if stored != unsigned and stored != unsigned - 256 * sum(
            b > 127 for b in header[:148] + header[156:]
        ):
            raise InvalidLayer(self._layer, "it is not a tar archive, or a tar header is damaged")
        return header

    def _extension(self, header: bytes) -> bytes:
        size = self._number(header[124:136], "size")
        if not 0 <= size <= self._limits.header_bytes:
            raise LimitExceeded(
                f"the size of an extension header in layer {self._layer}",
                self._limits.header_bytes,
                size,
                "header_bytes",
            )
        self._data_left = size
        self._padding = -size % _RECORD
        return b"".join(self.data())

    def _take(self, count: int) -> bytes | None:
        """Exactly `count` bytes in one piece; None if the stream ends here."""
        if len(self._buffer) - self._position < count:
            parts = [self._buffer[self._position :]]
            have = len(parts[0])
            while have < count:
                block = self._next_block()
                if not block:
                    if have:
                        raise InvalidLayer(self._layer, "its tar data ends in the middle of a header")
                    return None
                parts.append(block)
                have += len(block)
            self._buffer = b"".join(parts)
            self._position = 0
        start = self._position
        self._position = start + count
        return self._buffer[start : start + count]

    def _more(self, complaint: str) -> None:
        self._buffer = self._next_block()
        self._position = 0
        if not self._buffer:
            raise InvalidLayer(self._layer, complaint)

    def _next_block(self) -> bytes:
        """More of the stream, b"" at its end; whatever it is good for, it counts (T05, T10)."""
        block = next(self._blocks, b"")
        self._read += len(block)
        if self._read > self._read_max:
            what = f"the uncompressed size of layer {self._layer}"
            raise LimitExceeded(what, self._read_max, self._read, self._read_limit)
        return block

    def _skip_data(self) -> None:
        self._data_left += self._padding
        self._padding = 0
        for _ in self.data():
            pass

    def _drain(self) -> None:
        self._buffer = b""
        while self._next_block():
            pass


def _clamped(seconds: int) -> int:
    return max(-_TIME_MAX, min(_TIME_MAX, seconds))


def _sum(octets: bytes) -> int:
    """Of at most 256 bytes: that much fits the lower half of Adler-32, which takes a tenth of sum()'s time."""
    return (adler32(octets) & 0xFFFF) - 1


def _checksum(field: bytes) -> int | None:
    try:
        return int(field.split(b"\0", 1)[0], 8)
    except ValueError:
        return None
