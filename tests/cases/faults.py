"""A pull under a schedule of faults, and what was not as it must be.

However it ends: one sentence of the right class, or the image to the last byte; a store that others may read; no byte
asked for that had come and was good; and a pull in peace that succeeds and asks for nothing that is on the disk.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import anyio

from aiodocker_lite import Engine, Settings
from aiodocker_lite.errors import EngineError
from aiodocker_lite.platforms import Platform
from aiodocker_lite.registry.client import HttpRegistry
from aiodocker_lite.testing import Exchange, FakeRegistry, Fault, Layer, Reply, challenged, image, layer
from aiodocker_lite.testing.images import Blob, noise
from tests.cases.fault_cases import BLOBS, ENDINGS, FAULTS, STALLS, TRIES, Schedule
from tests.fakes.stores import flaws, layer_files

_FILES = {"big": noise(150_000, "big"), "small": noise(20_000, "small")}
LAYERS = {name: layer({name: content}) for name, content in _FILES.items()}
APP = image(*LAYERS.values(), platform=str(Platform.here()))
_PATHS = {
    "token": ("GET", "/token"),
    "name": ("HEAD", "/manifests/latest"),
    "manifest": ("GET", f"/manifests/{APP.manifest.digest}"),
    "config": ("GET", f"/blobs/{APP.config.digest}"),
    **{name: ("GET", f"/blobs/{each.digest}") for name, each in LAYERS.items()},
    "address": ("GET", f"/blobs/{LAYERS['small'].digest}"),
}
NewClient = Callable[[Settings], HttpRegistry]
_IDLE = {True: 0.5, False: 10.0}
"""Seconds, where something stalls and where nothing does: a busy machine shall not look like a fault."""


def is_one_sentence(text: str) -> bool:
    """Something that can be shown to a user."""
    return (
        text.isprintable()
        and not text.endswith((":", " ", "."))
        and not re.search(r"Traceback|Errno|Error\(|Exception|None", text)
        and 20 < len(text) < 400
    )


@dataclass
class Progress:
    """What has come of a layer and is good: nobody needs to ask for it again."""

    layer: Layer
    good: int = 0
    """A bit for each byte of the layer."""
    spoilt: bool = False
    """Wrong bytes were taken for right ones: it may be fetched anew, once."""
    wrong_ranges: int = 0
    """How many came one after the other."""
    refusals: int = 0
    """Answers of 416, and wrong ranges from the second in a row on, after which it may be read from the start, and what is here be dropped."""

    def asked_again(self, exchanges: Sequence[Exchange], *, alone: bool) -> Iterator[str]:
        """What was asked for though it was here, as sentences; `alone` if there was one stream."""
        for exchange in exchanges:
            asked = exchange.seen.headers.get("Range", "all of it")
            start, end = _extent(asked, len(self.layer.raw))
            keeps_all = alone
            if asked == "all of it" and self.refusals:
                self.refusals -= 1
            elif asked == "all of it" and self.spoilt:
                self.good, self.spoilt = 0, False
            else:
                keeps_all |= asked == "all of it"
                if again := (self.good & _bits(start, end)).bit_count():
                    yield f"{again} bytes were here, and {asked} was asked for"
            self._take(exchange, start, end, keeps_all=keeps_all)

    def _take(self, exchange: Exchange, start: int, end: int, *, keeps_all: bool) -> None:
        reply, raw = exchange.reply, self.layer.raw
        self.refusals += reply.status == 416
        if reply.status == 206:
            is_wrong = reply.headers.get("Content-Range") != f"bytes {start}-{end - 1}/{len(raw)}"
            self.wrong_ranges = self.wrong_ranges + 1 if is_wrong else 0
            self.refusals += self.wrong_ranges > 1
        if reply.status not in (200, 206) or (reply.status == 200 and "Content-Encoding" in reply.headers):
            return
        first = start if reply.status == 206 else 0
        if (
            reply.status == 206
            and reply.headers.get("Content-Range") != f"bytes {start}-{end - 1}/{len(raw)}"
        ):
            return  # nobody takes these for what was asked for
        if reply.status == 200 and (len(reply.body) != len(raw) and reply.length is None):
            return
        if reply.body[: exchange.sent] != raw[first : first + exchange.sent]:
            self.spoilt = True
        elif reply.ending != "reset" and (reply.status == 206 or keeps_all):
            # A reset may take along what had arrived; one of several streams wants no more than its part.
            self.good |= _bits(start, min(first + exchange.sent, end))

    def kept_on(self, store: Path) -> Iterator[str]:
        """Believe what is on the disk from now on; what is wrong with that, as sentences."""
        before, self.good = self.good, 0
        blob = store / "blobs/sha256" / self.layer.digest.hex
        ingest = store / "ingest" / f"sha256-{self.layer.digest.hex}"
        if blob.exists():
            self.good = _bits(0, len(self.layer.raw))
        elif ingest.exists():
            content = ingest.read_bytes()
            for start, end in _noted(ingest.with_name(f"{ingest.name}.written")) or [(0, len(content))]:
                self.good |= _bits(start, min(end, len(content)))
                if not self.spoilt and content[start:end] != self.layer.raw[start:end]:
                    yield f"the bytes {start} to {end} on the disk are wrong"
        elif self.spoilt:
            self.spoilt = False  # and thrown away
            return
        if not self.spoilt and (lost := (before & ~self.good).bit_count()):
            yield f"{lost} bytes had come, and are not on the disk"


def _bits(start: int, end: int) -> int:
    return ((1 << max(end - start, 0)) - 1) << start


def _extent(asked: str, size: int) -> tuple[int, int]:
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", asked)
    return (int(match[1]), int(match[2]) + 1 if match[2] else size) if match else (0, size)


def _noted(journal: Path) -> list[tuple[int, int]]:
    """What a journal beside a partial blob says is in it: `start end` lines."""
    if not journal.exists():
        return []
    pairs = [line.split() for line in journal.read_text().splitlines() if line]
    return [(int(start), int(end)) for start, end in pairs]


class Play:
    """One schedule being played."""

    def __init__(self, schedule: Schedule, root: Path, new_client: NewClient | None = None) -> None:
        self.wrong: list[str] = []
        self._schedule = schedule
        self._new_client = new_client
        self._root = root
        self._progress = {name: Progress(each) for name, each in LAYERS.items()}
        self._pull = anyio.CancelScope()
        self.registry = FakeRegistry()
        self.storage = FakeRegistry()

    async def run(self) -> None:
        """Pull until it ends otherwise than by a cancellation, and then in peace, twice."""
        settings = Settings(
            root=self._root,
            pauses=(0.001,) * TRIES,
            idle_timeout=_IDLE[any(fault in STALLS for _, fault in self._schedule.faults)],
            streams=self._schedule.streams,
            split_above=30_000,
            workers=1,
            batch=self._schedule.batch,
        )
        client = self._new_client(settings) if self._new_client else None
        async with self.registry, self.storage:
            self._set_up()
            async with client or nullcontext(), Engine(settings, registry=client) as engine:
                engine.store.create()
                while (ended := await self._pull_once(engine)) == "cancelled":
                    await self._look(engine, has_image=False)
                self._judge(ended)
                await self._look(engine, has_image=ended is None)
                self.registry.forget()
                self.storage.forget()
                if ended is not None:
                    self._expect(await self._pull_once(engine) is None, "it does not succeed in peace")
                    await self._look(engine, has_image=True)
                    self.registry.forget()
                await self._pull_once(engine)
                methods = [seen.method for seen in self.registry.requests]
                self._expect(methods == ["HEAD"], f"an image that is here costs {methods}")
            for server in (self.registry, self.storage):
                await server.wait_until_closed()

    def _set_up(self) -> None:
        self.registry.add("app", "latest", APP)
        self.registry.challenge_bearer(self.registry)
        if self._schedule.elsewhere:
            self.registry.keep_blobs_at(self.storage)
        own: dict[str, Fault] = {"cancel": self._cancel, "stale": challenged(self.registry.challenge or "")}
        for target, fault in self._schedule.faults:
            method, path = _PATHS[target]
            server = self.storage if self._schedule.elsewhere and target in BLOBS else self.registry
            server.script(method, path, own.get(fault) or FAULTS[fault])

    def _cancel(self, reply: Reply) -> Reply:
        self._pull.cancel()
        return reply

    async def _pull_once(self, engine: Engine) -> EngineError | str | None:
        """The error it ended with, or "cancelled"; None for an image."""
        error: EngineError | None = None
        seen = [len(server.exchanges) for server in (self.registry, self.storage)]
        with anyio.CancelScope() as self._pull:
            try:
                found = await engine.pull(f"{self.registry.address}/app")
                self._expect((found.id, found.verified) == (APP.config.digest, "Yes"), "it is another image")
            except EngineError as caught:
                error = caught
        done = self._exchanges()
        new = [done[0][seen[0] :], done[1][seen[1] :]]
        for name, progress in self._progress.items():
            self._check_layer(name, progress, self._of(name, new))
        for name, blob in (("manifest", APP.manifest), ("config", APP.config)):
            whole = [each for each in self._of(name, new) if _is_whole(each, blob)]
            self._expect(len(whole) <= 1, f"the {name} came {len(whole)} times")
        return "cancelled" if self._pull.cancelled_caught else error

    def _exchanges(self) -> tuple[list[Exchange], list[Exchange]]:
        return self.registry.exchanges, self.storage.exchanges

    def _of(self, name: str, exchanges: Sequence[Sequence[Exchange]]) -> list[Exchange]:
        """Those with whoever has this."""
        of_registry, of_storage = exchanges
        method, path = _PATHS[name]
        found = of_storage if self._schedule.elsewhere and name in BLOBS else of_registry
        return [each for each in found if each.seen.method == method and path in each.seen.path]

    def _check_layer(self, name: str, progress: Progress, exchanges: Sequence[Exchange]) -> None:
        alone = self._schedule.streams == 1
        # What the last request brought may not have been read when a pull was cancelled, or ended because
        # of another layer.
        complaints = list(progress.asked_again(exchanges[:-1], alone=alone))
        certain = progress.good if alone else 0
        complaints += progress.asked_again(exchanges[-1:], alone=alone)
        progress.good &= certain
        complaints += progress.kept_on(self._root)
        self.wrong += [f"{name}: {complaint}" for complaint in complaints]

    def _judge(self, ended: EngineError | str | None) -> None:
        """Whether the schedule had to end so."""
        wanted = self._schedule.ending
        if not isinstance(ended, EngineError):
            self._expect(not wanted, f"there is an image, and no error ({wanted})")
            return
        text = str(ended)
        if not wanted:
            self.wrong.append(f"there is no image: {text}")
            return
        kind, sentence = ENDINGS[wanted]
        self._expect(type(ended) is kind, f"{type(ended).__name__}, and not {kind.__name__}: {text}")
        for words in (sentence, self._schedule.words):
            self._expect(re.search(words, text) is not None, f"'{text}' has no '{words}'")
        self._expect(is_one_sentence(text), f"'{text}' is not one sentence")
        self._expect(ended.exit_code == 1, f"its exit code is {ended.exit_code}")

    async def _look(self, engine: Engine, *, has_image: bool) -> None:
        """At the store, from outside."""
        self.wrong += flaws(self._root)
        images = await engine.images()
        self._expect(len(images) == has_image, f"there are {len(images)} images")
        files = layer_files(self._root)
        self._expect(all(files[name] == _FILES.get(name) for name in files), "a file is not what it was")
        if has_image:
            self._expect(files == _FILES, f"the files are {sorted(files)}")
            left = [path.name for path in (self._root / "ingest").iterdir()]
            self._expect(not left, f"{left} was left in ingest/")

    def _expect(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.wrong.append(otherwise)


def _is_whole(exchange: Exchange, blob: Blob) -> bool:
    """It brought the whole document, at once and well."""
    reply = exchange.reply
    return (
        (reply.status, reply.body, reply.length, reply.at) == (200, blob.raw, None, None)
        and not reply.more
        and exchange.sent == len(blob.raw)
    )


async def play(schedule: Schedule, directory: Path, new_client: NewClient | None = None) -> list[str]:
    """What was not as it must be, as sentences; of a client of ours, or of one that is broken on purpose."""
    played = Play(schedule, directory / "store", new_client)
    with anyio.move_on_after(60) as scope:
        await played.run()
    return [*played.wrong, *(["it hangs"] if scope.cancelled_caught else [])]
