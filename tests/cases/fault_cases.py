"""What goes wrong with which request of a pull, and how it must end: the words that schedules are written in.

token      the answer of the token server
name       the HEAD for the tag
manifest   config   big   small       the documents and layers, from wherever they are
address    where the registry says that `small` is, if layers are elsewhere
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from aiodocker_lite.errors import (
    AccessDenied,
    BlobNotFound,
    DigestMismatch,
    EngineError,
    ImageNotFound,
    InvalidLayer,
    LimitExceeded,
    RateLimited,
    RegistryMisbehaved,
    RegistryUnavailable,
    RegistryUnreachable,
    SizeMismatch,
)
from aiodocker_lite.testing import (
    Fault,
    challenged,
    cut,
    cut_unsaid,
    damaged,
    encoded,
    honest,
    huge,
    late,
    misranged,
    redirected,
    resized,
    slow,
    status,
    together,
    unanswered,
    unranged,
    with_body,
    with_headers,
    with_length,
    with_more,
)

TRIES = 5
"""So often a request that brings nothing is made again."""
LASTING = 40
_PAGE = b"<html>please log in</html>"
_LONG_AGO = "Wed, 21 Oct 2015 07:28:00 GMT"
OTHER_DIGEST = f"sha256:{'0' * 64}"

ENDINGS: dict[str, tuple[type[EngineError], str]] = {
    "unavailable": (
        RegistryUnavailable,
        r"^\S+( \(where \S+ sends us\)| \(the token server of \S+\))? failed: ",
    ),
    "unreachable": (RegistryUnreachable, r"^cannot reach \S+ \(where \S+ sends us\): "),
    "limited": (
        RateLimited,
        r"^\S+( \(where \S+ sends us\)| \(the token server of \S+\))? limits the number of pulls: ",
    ),
    "denied": (
        AccessDenied,
        r"^pull access denied for localhost:\d+/app\S+, .* \(credentials used: anonymous\)$",
    ),
    "no image": (ImageNotFound, r"^manifest for localhost:\d+/app\S+ not found: "),
    "no blob": (BlobNotFound, r"^localhost:\d+/app:latest is not complete in its registry: blob sha256:"),
    "misbehaved": (
        RegistryMisbehaved,
        r"^\S+( \(where \S+ sends us\)| \(the token server of \S+\))? does not answer like a registry: ",
    ),
    "content": (
        DigestMismatch,
        r" has the wrong content: expected sha256:\w{64}, got sha256:\w{64}; nothing was stored$",
    ),
    "size": (SizeMismatch, r" has the wrong size: expected \d+ bytes, got \d+; nothing was stored$"),
    "gzip": (InvalidLayer, r"^layer \w{12} cannot be unpacked: "),
    "too large": (LimitExceeded, r" exceeds its limit: \d+ is more than \d+$"),
}
"""Class and sentence of each error that a pull may end with."""

FAULTS: dict[str, Fault] = {
    "honest": honest,
    # refusals
    **{str(code): status(code) for code in (400, 401, 403, 404, 408, 416, 418, 429, 500, 504)},
    "429-now": status(429, Retry_After="0"),
    "429-past": status(429, Retry_After=_LONG_AGO),
    "429-odd": status(429, Retry_After="soon"),
    "502-page": with_body(_PAGE, code=502),
    "503-negative": status(503, Retry_After="-1"),
    # connections
    "hung-up": unanswered(),
    "hung-up-reset": unanswered("reset"),
    "silent": unanswered("stall"),
    "no-body": cut(0),
    "no-body-reset": cut(0, "reset"),
    "no-body-stall": cut(0, "stall"),
    "part": cut(300),
    "part-reset": cut(300, "reset"),
    "part-stall": cut(300, "stall"),
    "part-of-chunks": together(with_length("chunked"), cut(300)),
    "part-unsaid": cut_unsaid(300),
    "part-to-the-end": together(with_length("close"), cut(300)),
    "half": cut(10_000),
    "most": cut(20_000),
    "late": late(0.05),
    "slow": slow(0.0005),
    # headers
    "other-type": with_headers(Content_Type="text/plain"),
    "other-digest": with_headers(Docker_Content_Digest=OTHER_DIGEST),
    "no-digest": with_headers(Docker_Content_Digest=""),
    "chunks": with_length("chunked"),
    "until-closed": with_length("close"),
    "two-lengths": with_more(Content_Length="7"),
    "short-length": with_length(100),
    "long-length": with_length(1 << 40),
    # redirects and challenges
    "redirect": redirected("?again"),
    "redirect-to-file": redirected("file:///etc/passwd"),
    "redirect-nowhere": status(307),
    "redirect-to-nobody": redirected("http://127.0.0.1:1/"),
    "challenge-unknown": challenged("Negotiate"),
    "challenge-without-realm": challenged("Bearer"),
    "challenge-basic": challenged('Basic realm="fault"'),
    "challenge-to-file": challenged('Bearer realm="file:///etc/passwd"'),
    # bodies
    "page": with_body(_PAGE),
    "no-json": with_body(b"\0", "application/json"),
    "no-token": with_body(b"{}", "application/json"),
    "error-200": with_body(b'{"errors":[{"code":"DENIED"}]}', "application/json"),
    "damaged-name": damaged(9),  # of a gzip header: the system it was made on
    "damaged": damaged(4000),
    "longer": resized(1),
    "shorter": resized(-1),
    "huge": huge(64 << 20),
    "endless": huge(),
    "encoded": encoded(),
    "encoded-part": encoded(40),
    # ranges
    "unranged": unranged,
    "unranged-half": together(unranged, cut(10_000)),
    "wrong-start": misranged(start=-1),
    "wrong-end": misranged(end=1),
    "wrong-total": misranged(total=1),
    "no-range-said": with_headers(Content_Range=""),
    "multipart": with_headers(Content_Range="", Content_Type="multipart/byteranges; boundary=x"),
}
"""By name. `play` adds `cancel`, which cancels the pull, and `stale`: a token that is good no more."""

STALLS = {"silent", "no-body-stall", "part-stall"}
BLOBS = ("config", "big", "small")
LAYERS = ("big", "small")
DOCUMENTS = ("manifest", "config")
BODIES = (*DOCUMENTS, *LAYERS)
ASKED = ("name", *BODIES)
TARGETS = ("token", *ASKED)


@dataclass(frozen=True)
class Schedule:
    """Faults for requests, in turn, and how it must end: an image, or one of ENDINGS with these words."""

    name: str
    faults: tuple[tuple[str, str], ...]
    """Target and fault."""
    ending: str = ""
    words: str = ""
    streams: int = 1
    elsewhere: bool = False
    """Blobs are on another server, at addresses that are good for one request."""
    batch: int = 1 << 20


@dataclass(frozen=True)
class Row:
    """Some faults that end in the same way, at some requests: when they come once, and when they last."""

    faults: str
    targets: tuple[str, ...]
    once: str
    lasting: str | None
    """None: it is not tried."""
    words: str = ""
    first: str = ""
    """A fault that comes before: what is about ranges needs something to go on with."""
    elsewhere: bool | None = False
    """Where the targets are; None: it makes no difference."""
    streams: tuple[int, ...] = (1,)
    passes: int = TRIES
    """So often in a row it is waited out, if once is."""

    def schedules(self) -> Iterator[Schedule]:
        """Once, as often as is waited out, and without end."""
        for fault in self.faults.split():
            counts = [(1, self.once)]
            if not self.once and self.lasting and self.passes > 1:
                counts.append((self.passes, ""))
            if self.lasting is not None:
                counts.append((LASTING, self.lasting))
            for target in self.targets:
                first = ((target, self.first),) if self.first else ()
                for count, ending in counts:
                    if fault in STALLS and count == self.passes:
                        continue  # they take their time
                    faults = (*first, *((target, fault),) * count)
                    name = f"{target}: {count} x {fault}{f' after {self.first}' if self.first else ''}"
                    made = Schedule(name, faults, ending, self.words if ending else "")
                    yield from self._variants(made, is_blob=target in BLOBS)

    def _variants(self, schedule: Schedule, *, is_blob: bool) -> Iterator[Schedule]:
        for elsewhere in (False, True) if self.elsewhere is None and is_blob else (bool(self.elsewhere),):
            for streams in self.streams:
                where = ", elsewhere" if elsewhere else ""
                parts = f", {streams} streams" if streams > 1 else ""
                yield replace(
                    schedule, name=schedule.name + where + parts, streams=streams, elsewhere=elsewhere
                )
