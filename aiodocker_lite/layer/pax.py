"""The records of PAX extension headers: POSIX.1-2001 pax(1), "pax Extended Header".

All raise ValueError with a reason; whoever reads the tar knows which layer it is about.
"""

from __future__ import annotations

SPARSE_NAME = b"GNU.sparse.name"
_SPARSE_00 = (b"GNU.sparse.offset", b"GNU.sparse.numbytes")


def parse_records(content: bytes) -> dict[bytes, bytes]:
    """Records of the form ``length key=value\\n``; the last of equal keys wins."""
    records: dict[bytes, bytes] = {}
    pieces: list[bytes] = []
    position = 0
    while position < len(content):
        space = content.find(b" ", position, position + 20)
        digits = content[position:space] if space > position else b""
        end = position + (int(digits) if digits.isdigit() else 0)
        key, equals, value = content[space + 1 : end - 1].partition(b"=")
        # A record without a length would begin where it ends, for ever (CVE-2019-20907).
        if not position < space < end <= len(content) or content[end - 1] != 0x0A or not key or not equals:
            if not content[position:].strip(b"\0"):
                break
            raise ValueError("a PAX record in its tar data is malformed")
        records[key] = value
        if key in _SPARSE_00:
            # The one key of which all count: format 0.0 of sparse maps.
            pieces.append(value)
        position = end
    if pieces:
        records[b"GNU.sparse.map"] = b",".join(pieces)
    return records


def parse_time(text: bytes) -> tuple[int, int]:
    """Seconds with a fraction, as seconds and nanoseconds of the same sign; digits beyond the ninth are cut off."""
    sign = -1 if text.startswith(b"-") else 1
    whole, _, fraction = text.removeprefix(b"-").partition(b".")
    if not (whole or fraction) or not (whole or b"0").isdigit() or not (fraction or b"0").isdigit():
        raise ValueError("its PAX time is no number")
    return sign * int((whole or b"0")[:20]), sign * int(fraction[:9].ljust(9, b"0"))
