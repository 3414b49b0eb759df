"""Schedules of faults: what goes wrong with which request of a pull, how often, and how it must end.

token      the answer of the token server
resolve    the HEAD for the name
manifest   config   big   small    each document and layer; the layers where the registry redirects to, if it does
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import anyio

from aiodocker_lite import Engine, Settings
from aiodocker_lite.errors import EngineError
from aiodocker_lite.testing import (
    FakeRegistry,
    Fault,
    challenged,
    cut,
    cut_unsaid,
    damaged,
    huge,
    image,
    layer,
    redirected,
    slow,
    status,
    unranged,
    with_body,
    with_headers,
    with_length,
)
from aiodocker_lite.testing.images import noise

TRIES = 5
"""So often a request that brings nothing is made again."""
FILES = {"big": noise(150_000, "big"), "small": noise(20_000, "small")}
BIG, SMALL = (layer({name: content}) for name, content in FILES.items())
APP = image(BIG, SMALL)
BLOBS = {"big": BIG, "small": SMALL}
_LATER = "Wed, 21 Oct 2015 07:28:00 GMT"


@dataclass(frozen=True)
class Kind:
    """A fault, and the class of error it leads to when it comes too often; empty: it may come for ever."""

    fault: Fault
    error: str = "RegistryUnavailable"
    lost: int = 0
    """Bytes that may have to be sent again because of it."""


HELPED_BY_RETRY = {
    "408": Kind(status(408)),
    "429": Kind(status(429), "RateLimited"),
    "429-now": Kind(status(429, Retry_After="0"), "RateLimited"),
    "429-a-date-long-ago": Kind(status(429, Retry_After=_LATER), "RateLimited"),
    "429-junk": Kind(status(429, Retry_After="soon"), "RateLimited"),
    "500": Kind(status(500)),
    "502-html": Kind(with_body(b"<html>Bad Gateway</html>", code=502)),
    "503-now": Kind(status(503, Retry_After="0")),
    "504": Kind(status(504)),
    "closed-at-once": Kind(cut(0)),
    "reset-at-once": Kind(cut(0, "reset")),
    "stalled-at-once": Kind(cut(0, "stall")),
}
"""Whatever is asked for."""
CUTS = {
    "cut": Kind(cut(300), ""),
    "reset": Kind(cut(300, "reset"), "", 300),
    "stalled": Kind(cut(300, "stall"), ""),
    "cut-unsaid": Kind(cut_unsaid(300), ""),
}
"""In the middle of a layer, with progress: they may come for ever."""
ODD = {
    "range-ignored-after-a-cut": ((cut(5000), unranged), 6000),
    "range-ignored-and-cut": ((cut(5000), lambda reply: cut(9000)(unranged(reply))), 10_000),
    "wrong-start": ((cut(5000), with_headers(Content_Range="bytes 0-9/10")), 30_000),
    "wrong-total": ((cut(5000), with_headers(Content_Range="bytes 5000-5999/6000")), 30_000),
    "no-content-range": ((cut(5000), with_headers(Content_Range="")), 30_000),
    "416": ((cut(5000), status(416)), 30_000),
    "damaged-in-the-second-half": ((cut(5000), damaged(100)), 30_000),
    "slow": ((cut(19_900), slow(0.001)), 0),
    "no-length": ((with_length("chunked"),), 0),
}
"""What can happen to a resumed layer, all of it mended; and how many bytes of `small` may come again."""
FOR_GOOD = (
    ("resolve", "404", status(404), "ImageNotFound"),
    ("resolve", "403", status(403), "AccessDenied"),
    ("manifest", "404", status(404), "ImageNotFound"),
    ("manifest", "403", status(403), "AccessDenied"),
    ("manifest", "damaged", damaged(40), "DigestMismatch"),
    ("config", "404", status(404), "BlobNotFound"),
    ("config", "403", status(403), "AccessDenied"),
    ("config", "damaged", damaged(40), "DigestMismatch"),
    ("small", "404", status(404), "BlobNotFound"),
    ("small", "403", status(403), "AccessDenied"),
    ("small", "damaged", damaged(4000), "InvalidLayer"),  # gzip sees it before the digest does
    ("big", "404", status(404), "BlobNotFound"),
    ("big", "403", status(403), "AccessDenied"),
    ("token", "401", status(401), "AccessDenied"),
    ("token", "403", status(403), "AccessDenied"),
    ("token", "html", with_body(b"<html>Log in</html>"), "RegistryMisbehaved"),
    ("manifest", "html", with_body(b"<html>Log in</html>"), "RegistryMisbehaved"),
    ("small", "html", with_body(b"<html>Log in</html>"), "RegistryMisbehaved"),
    ("small", "400", status(400), "RegistryMisbehaved"),
    ("config", "400", status(400), "RegistryMisbehaved"),
    ("manifest", "huge", huge(64 << 20), "LimitExceeded"),
    ("config", "huge", huge(64 << 20), "SizeMismatch"),
    ("small", "huge", huge(64 << 20), "SizeMismatch"),
    ("small", "unknown-challenge", challenged("Negotiate"), "AccessDenied"),
    ("manifest", "unknown-challenge", challenged("Negotiate"), "AccessDenied"),
)
"""No retry can help: what, its name, the fault every time, and the error."""
TARGETS = ("token", "resolve", "manifest", "config", "big", "small")


@dataclass(frozen=True)
class Schedule:
    """Faults for requests, in turn, and the error it must end in; empty: the image comes."""

    name: str
    faults: tuple[tuple[str, Fault], ...]
    error: str = ""
    lost: int = 0
    """Bytes that may be sent twice."""
    streams: int = 1
    redirects: bool = False
    cancelled_after: float = 0
    """A first pull is cancelled after so many seconds."""


def scripted() -> Iterator[Schedule]:
    """All that are written down, each with its verdict."""
    for target in TARGETS:
        for name, kind in _helped_by_retry(target).items():
            for count, error in ((1, ""), (TRIES, ""), (TRIES + 1, kind.error)):
                yield Schedule(f"{target}-{name}-{count}-times", ((target, kind.fault),) * count, error)
    for target in ("big", "small"):
        for name, kind in CUTS.items():
            for count in (1, 3 * TRIES):
                faults = ((target, kind.fault),) * count
                for streams in (1, 3):
                    cuts = f"{target}-{name}-{count}-times-{streams}-streams"
                    yield Schedule(cuts, faults, lost=count * kind.lost, streams=streams)
                yield Schedule(
                    f"{target}-{name}-{count}-times-elsewhere", faults, lost=count * kind.lost, redirects=True
                )
    for name, (odd, lost) in ODD.items():
        yield Schedule(f"small-{name}", tuple(("small", fault) for fault in odd), lost=lost)
    for target, name, fault, error in FOR_GOOD:
        yield Schedule(f"{target}-{name}-for-good", ((target, fault),) * 20, error)
    for target in ("big", "small"):
        expired = ((target, cut(3000)), (target, status(403)))
        yield Schedule(f"{target}-expired-address", expired, redirects=True)
        yield Schedule(f"{target}-elsewhere-503", ((target, status(503)),) * TRIES, redirects=True)


def random_one(seed: int) -> Schedule:
    """Several faults at several places, and perhaps one that no retry helps against."""
    chance = random.Random(seed)
    redirects = chance.random() < 0.3
    faults: list[tuple[str, Fault]] = []
    lost = 0
    for target in chance.sample(TARGETS, chance.randint(1, 4)):
        kinds = _helped_by_retry(target) | (CUTS if target in BLOBS else {})
        # The token is asked for while the name is resolved: their failures count together.
        most = TRIES // 2 if target in ("token", "resolve") else TRIES
        for name in chance.choices(list(kinds), k=chance.randint(1, most)):
            faults.append((target, kinds[name].fault))
            lost += kinds[name].lost
    error = ""
    if chance.random() < 0.2:
        target, _, fault, error = chance.choice(
            [each for each in FOR_GOOD if not (redirects and each[0] in BLOBS)]
        )
        faults += [(target, fault)] * 20
    cancelled = chance.choice((0, 0, 0, chance.uniform(0.01, 0.3)))
    if cancelled:
        lost += len(BIG.raw) + len(SMALL.raw)  # what had been sent and not been read
    streams = chance.choice((1, 3))
    return Schedule(f"random-{seed}", tuple(faults), error, lost, streams, redirects, cancelled)


def _helped_by_retry(target: str) -> dict[str, Kind]:
    """The answer to a HEAD has no body that could be cut."""
    return {
        name: kind
        for name, kind in HELPED_BY_RETRY.items()
        if target != "resolve" or not name.endswith("-at-once")
    }


async def run(schedule: Schedule, directory: Path) -> list[str]:
    """Pull while these faults happen, and then once more in peace; what was not as it must be."""
    settings = Settings(
        root=directory,
        pauses=(0.001,) * TRIES,
        idle_timeout=0.5,
        streams=schedule.streams,
        split_above=30_000,
        workers=1,
    )
    async with AsyncExitStack() as stack:
        registry = await stack.enter_async_context(FakeRegistry())
        storage = await stack.enter_async_context(FakeRegistry())
        for each in (registry, storage):
            each.add("app", "latest", APP)
        registry.challenge_bearer(registry)
        _script(registry, storage, schedule)
        engine = await stack.enter_async_context(Engine(settings))
        name = f"{registry.address}/app"
        if schedule.cancelled_after:
            with anyio.move_on_after(schedule.cancelled_after):
                await _outcome(engine, name)
        was_in_time = bool(await engine.images())
        wrong = await _look(engine, directory, was_in_time)
        ended = await _outcome(engine, name)
        if ended != schedule.error and not was_in_time:
            wrong.append(f"ended with {ended or 'an image'}, and not with {schedule.error or 'an image'}")
        wrong += await _look(engine, directory, was_in_time or not ended)
        for blob in BLOBS.values():
            sent = sum(
                exchange.sent
                for server in (registry, storage)
                for exchange in server.exchanges
                if str(blob.digest) in exchange.seen.path and exchange.reply.status < 300
            )
            if not ended and sent > len(blob.raw) + schedule.lost:
                wrong.append(f"{sent} bytes were sent of a layer of {len(blob.raw)}")
        registry.forget()
        storage.forget()
        if ended := await _outcome(engine, name):
            wrong.append(f"in peace it ended with {ended}")
        return wrong + await _look(engine, directory, True)


def _script(registry: FakeRegistry, storage: FakeRegistry, schedule: Schedule) -> None:
    paths = {
        "token": ("GET", "/token"),
        "resolve": ("HEAD", "/manifests/latest"),
        "manifest": ("GET", f"/manifests/{APP.manifest.digest}"),
        "config": ("GET", f"/blobs/{APP.config.digest}"),
        **{target: ("GET", f"/blobs/{blob.digest}") for target, blob in BLOBS.items()},
    }
    for target, fault in schedule.faults:
        server = storage if schedule.redirects and target in BLOBS else registry
        server.script(*paths[target], fault)
    if schedule.redirects:
        for target in BLOBS:
            method, path = paths[target]
            registry.script(method, path, *[redirected(f"{storage.url}/v2/app{path}")] * 200)


async def _outcome(engine: Engine, name: str) -> str:
    """The class of the error that a pull ends with; empty for an image."""
    try:
        await engine.pull(name)
    except EngineError as error:
        return type(error).__name__ if "\n" not in str(error) else f"{type(error).__name__} in many lines"
    return ""


async def _look(engine: Engine, directory: Path, is_there: bool) -> list[str]:
    """What is wrong with the store, when the image shall be there or not."""
    wrong = []
    if bool(await engine.images()) != is_there:
        wrong.append(f"the image is {'not ' if is_there else ''}listed")
    blobs = [path for path in (directory / "blobs").rglob("*") if path.is_file()]
    wrong += [
        f"blob {path.name} is not what it is called"
        for path in blobs
        if hashlib.sha256(path.read_bytes()).hexdigest() != path.name
    ]
    for file, blob in BLOBS.items():
        path = directory / "layers" / "sha256" / blob.diff_id.hex / "fs" / file
        content = path.read_bytes() if path.exists() else None
        if content != FILES[file] and (content is not None or is_there):
            wrong.append(f"the file {file} is not what it was")
    return wrong
