"""One blob, however many requests it takes; here the requests are lists of bytes and errors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import anyio
import pytest

from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import (
    ImageNotFound,
    RateLimited,
    RegistryError,
    RegistryUnavailable,
    RegistryUnreachable,
    SizeMismatch,
    StoreUnwritable,
)
from aiodocker_lite.fetch.blob import Write, fetch_blob
from aiodocker_lite.fetch.retries import Retries
from aiodocker_lite.manifest import Descriptor
from aiodocker_lite.registry.client import HttpRegistry
from aiodocker_lite.settings import Settings
from aiodocker_lite.testing.faults import Fault, cut, cut_unsaid, status, unranged, with_headers
from aiodocker_lite.testing.images import image, layer, noise
from aiodocker_lite.testing.registry import FakeRegistry
from tests.fakes.clients import knowing

RAW = b"0123456789"
CUT = RegistryUnavailable("r.example.com", "cut")
LOST = ImageNotFound("app")
Step = bytes | Exception


@dataclass
class Answer:
    """Chunks and errors, and where they end if there are no errors."""

    steps: Sequence[Step]
    end: int

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for step in self.steps:
            await anyio.lowlevel.checkpoint()
            if isinstance(step, Exception):
                raise step
            yield step


@dataclass
class Source:
    """Answers one request after the other with the next list of chunks and errors."""

    answers: list[Sequence[Step]]
    offsets: list[int] = field(default_factory=list)
    open_now: int = 0

    def __call__(self, offset: int, end: int) -> AbstractAsyncContextManager[Answer]:
        return self._opened(offset, end)

    @asynccontextmanager
    async def _opened(self, offset: int, end: int) -> AsyncIterator[Answer]:
        self.offsets.append(offset)
        steps = self.answers.pop(0)
        if steps and isinstance(steps[0], Exception):
            raise steps[0]
        self.open_now += 1
        try:
            yield Answer(steps, end)
        finally:
            self.open_now -= 1


@dataclass
class Target:
    """Keeps what is written; fails once at a byte, if told so."""

    got: bytearray = field(default_factory=bytearray)
    fails_at: int | None = None
    error: Exception = field(default_factory=lambda: StoreUnwritable("x", "read-only"))

    @asynccontextmanager
    async def at(self, offset: int) -> AsyncIterator[Write]:
        async def write(chunk: bytes) -> None:
            if self.fails_at is not None and len(self.got) + len(chunk) > self.fails_at:
                raise self.error
            self.got += chunk

        yield write


@dataclass
class Run:
    """One download and what it reported."""

    source: Source
    target: Target = field(default_factory=Target)
    retries: list[tuple[RegistryError, float]] = field(default_factory=list)

    async def fetch(self, *, offset: int = 0, pauses: Sequence[float] = (0, 0)) -> bytes:
        blob = Descriptor("x", Digest.of(RAW), len(RAW))
        await fetch_blob(
            blob,
            [(offset, len(RAW))],
            self.source,
            self.target.at,
            retries=Retries(pauses, 60),
            on_retry=lambda error, pause: self.retries.append((error, pause)),
        )
        assert self.source.open_now == 0
        return bytes(self.target.got)


def run(*answers: Sequence[Step], **target: object) -> Run:
    return Run(Source(list(answers)), Target(**target))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answers", "offsets"),
    [
        ([[RAW]], [0]),
        ([[b"0123", b"456789"]], [0]),
        ([[b"012", CUT], [b"3456789"]], [0, 3]),
        ([[CUT], [CUT], [RAW]], [0, 0, 0]),
        ([[b"012"], [b"34"], [b"56789"]], [0, 3, 5]),
        ([[], [], [RAW]], [0, 0, 0]),
        ([[CUT], [b"0", CUT], [CUT], [b"1", CUT], [CUT], [b"23456789"]], [0, 0, 1, 1, 2, 2]),
    ],
)
async def test_every_byte_arrives_in_order_and_once(answers: list[list[Step]], offsets: list[int]) -> None:
    """R15: cut connections and short bodies cost a new request each, and no byte twice."""
    one = run(*answers)
    assert await one.fetch() == RAW
    assert one.source.offsets == offsets
    assert len(one.retries) == len(offsets) - 1


async def test_a_kept_beginning_is_not_asked_for_again() -> None:
    """And a blob that is whole asks for nothing."""
    one = run([b"456789"])
    assert await one.fetch(offset=4) == b"456789"
    assert one.source.offsets == [4]
    assert await run().fetch(offset=len(RAW)) == b""


@pytest.mark.parametrize("step", [CUT, RateLimited("r", "slow down"), b""])
async def test_without_progress_the_pauses_run_out(step: Step) -> None:
    """An empty body is a failure too, or it would spin for ever."""
    one = run(*[[step]] * 9)
    with pytest.raises(RegistryError):
        await one.fetch(pauses=(0, 0))
    assert one.source.offsets == [0, 0, 0]


@pytest.mark.parametrize("error", [LOST, RegistryUnreachable("r", "refused")])
async def test_what_will_not_change_is_not_tried_again(error: RegistryError) -> None:
    """At once, also in the middle."""
    one = run([b"012", error])
    with pytest.raises(type(error)):
        await one.fetch()
    assert one.retries == []


@pytest.mark.parametrize("error", [StoreUnwritable("x", "read-only"), CUT, OSError(28, "full")])
async def test_a_failed_write_is_never_tried_again(error: Exception) -> None:
    """Our count has moved on and the file has not; not even an error that looks like the registry's."""
    one = run([b"0123", b"4567", b"89"], [RAW], fails_at=6, error=error)
    with pytest.raises(type(error)):
        await one.fetch()
    assert one.source.offsets == [0]
    assert one.target.got == b"0123"


@pytest.mark.parametrize("answers", [[[RAW + b"x"]], [[RAW[:5], CUT], [b"56789x"]], [[RAW[:9], b"9x"]]])
async def test_more_than_was_promised_is_refused(answers: list[list[Step]]) -> None:
    """R14: and the chunk that is too long is not written."""
    one = run(*answers)
    with pytest.raises(SizeMismatch, match="expected 10 bytes, got 11"):
        await one.fetch()
    assert len(one.target.got) < 10


async def test_a_pause_can_be_cancelled() -> None:
    """Nobody waits a minute for Ctrl-C."""
    one = run([RateLimited("r", "slow down", retry_after=60.0)])
    with anyio.move_on_after(0.05) as scope:
        await one.fetch()
    assert scope.cancelled_caught


def _faults(raw: bytes) -> dict[str, list[Fault]]:
    wrong = with_headers(Content_Range="bytes 0-1/2")
    return {
        "cut": [cut(50_000), cut(50_000), cut(0)],
        "reset": [cut(70_000, "reset"), cut(0, "reset")],
        "stall": [cut(50_000, "stall"), cut(10, "stall")],
        "ends early": [cut_unsaid(1000), cut_unsaid(1)],
        "no ranges": [cut(100_000), unranged],
        "wrong range": [cut(1000), wrong, wrong],
        "unsatisfiable": [cut(1000), status(416), cut(2000)],
        "busy": [status(503), status(429, Retry_After="0"), cut(1), status(502)],
    }


@pytest.mark.parametrize("kind", _faults(b""))
async def test_a_real_download_survives_a_bad_network(kind: str) -> None:
    """R15 to R19: the bytes are the same, whatever happened to the connections."""
    app = image(layer({"data": noise(200_000)}))
    blob = app.layers[0]
    target = Target()
    settings = Settings(idle_timeout=0.2)
    async with FakeRegistry() as fake, HttpRegistry(settings, credentials=knowing(None)) as registry:
        fake.add("app", "latest", app)
        faults = _faults(blob.raw)[kind]
        fake.script("GET", "/blobs/", *faults)
        open_at = partial(registry.open_blob, fake.reference("app"), blob.descriptor)
        await fetch_blob(
            blob.descriptor,
            [(0, len(blob.raw))],
            open_at,
            target.at,
            retries=Retries((0, 0, 0), 60),
            on_retry=lambda error, pause: None,
        )
        assert len(fake.requests) > len(faults) - 1
    assert bytes(target.got) == blob.raw
