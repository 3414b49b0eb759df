"""A process that unpacks one layer after the other: a thread hashes and inflates, one hashes what comes out, one unpacks it.

It is started by `pool.py`, steps apart from the host, and forks for each layer a copy of itself that
is confined to the layer's directory and ends with it (`confine.py`). It talks JSON lines. A job comes in
as ``{"blob": …}``, then ``{"have": n}`` whenever more of the blob's file is complete. Out go
``{"consumed": n}`` now and then, and at the end ``{"done": …}`` or ``{"failed": …}``. A job of the kind
``join`` joins a layer that is unpacked to those below it, ``list`` compares one with its list. Errors cross
as slug and facts, never pickled: this process reads what strangers wrote.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from aiodocker_lite import subids, syscalls
from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import (
    EngineError,
    InvalidLayer,
    StoreUnwritable,
    WorkerDied,
    WorkerNotStarted,
    to_message,
)
from aiodocker_lite.inflate import load_decoders
from aiodocker_lite.layer import confine
from aiodocker_lite.layer.ahead import ahead
from aiodocker_lite.layer.compare import Comparison, Difference, same_content
from aiodocker_lite.layer.decompress import plain_blocks
from aiodocker_lite.layer.failures import store_error
from aiodocker_lite.layer.join import Stack, join_layer
from aiodocker_lite.layer.listing import compare_listing, write_listing
from aiodocker_lite.layer.notes import read_notes
from aiodocker_lite.layer.outline import Outline
from aiodocker_lite.layer.rules import Unpacked, UnpackRules
from aiodocker_lite.layer.tar import TarReader
from aiodocker_lite.layer.took import Took
from aiodocker_lite.layer.unpack import unpack_layer
from aiodocker_lite.settings import Limits
from aiodocker_lite.verify import Verifier

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = 1 << 18
_REPORT = 1 << 20
_DIFFERENCES_MAX = 1 << 19
"""Bytes of the differences of a tree that are reported one by one."""


class _Conversation:
    """Lines from and to the parent, on standard input and output."""

    def __init__(self) -> None:
        self._pending = b""

    def receive(self) -> dict[str, Any] | None:
        """The next message, or None when the parent has gone."""
        while b"\n" not in self._pending:
            more = os.read(0, 1 << 16)
            if not more:
                return None
            self._pending += more
        line, _, self._pending = self._pending.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    def send(self, message: dict[str, Any]) -> None:
        line = json.dumps(message).encode() + b"\n"
        while line:
            line = line[os.write(1, line) :]


class _ParentGone(Exception):
    """Nobody is there to unpack for."""


class _Blob:
    """The compressed bytes of one layer, read behind the watermark of whoever writes the file."""

    def __init__(self, talk: _Conversation, job: dict[str, Any], fd: int, took: Took) -> None:
        self.position = 0
        self._took = took
        self._talk = talk
        self._fd = fd
        self._size: int = job["size"]
        self._have: int = job["have"]
        self._layer: str = job["layer"]
        self._verifier = Verifier(f"layer {job['layer']}", Digest.parse(job["digest"]), self._size)

    def __iter__(self) -> Iterator[bytes]:
        while self.position < self._size:
            if self.position == self._have:
                with self._took.time("waiting"):
                    self._wait()
            try:
                chunk = os.pread(self._fd, min(_READ, self._have - self.position), self.position)
            except OSError as error:
                reason = f"its blob cannot be read ({os.strerror(error.errno or 0)})"
                raise InvalidLayer(self._layer, reason) from error
            if not chunk:
                raise StoreUnwritable("the file of a blob", "it became shorter while it was read")
            self._verifier.update(chunk)
            self.position += len(chunk)
            yield chunk
        self._verifier.finish()

    def _wait(self) -> None:
        message = self._talk.receive()
        if message is None:
            raise _ParentGone
        self._have = message["have"]


def _do(job: dict[str, Any], talk: _Conversation) -> dict[str, Any]:
    """Unpack one layer, or only check it where the job names no directory."""
    layer: str = job["layer"]
    diff_id = Verifier(f"the uncompressed layer {layer}", Digest.parse(job["diff_id"]))
    limits = Limits(**job["limits"])
    with ExitStack() as stack:
        file = os.open(job["blob"], os.O_RDONLY | os.O_CLOEXEC)
        stack.callback(os.close, file)
        took = Took()
        compressed = _Blob(talk, job, file, took)
        plain = took.timed("plain", plain_blocks(took.timed("compressed", iter(compressed)), layer))
        ready = took.timed("ready", ahead(_hashed(ahead(plain), diff_id, took)))
        blocks = _reported(ready, compressed, talk)
        if job["directory"] is None:
            done = asdict(Unpacked(sum(1 for _ in TarReader(blocks, layer, limits, job["size"])), 0, 0))
        else:
            done = _unpack(
                stack, job, blocks, UnpackRules(job["privileged"], limits, job["size"], job["ids"])
            )
    diff_id.finish()
    return {**done, "took": took.facts()}


def _unpack(
    stack: ExitStack, job: dict[str, Any], blocks: Iterator[bytes], rules: UnpackRules
) -> dict[str, Any]:
    """Unpack a layer, or what is compared with what is here."""
    if job["model"] == "outline in memory":
        # For this copy of the process alone, so it goes with it.
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount("tmpfs", job["directory"], "tmpfs", 0, "mode=0755")
    root = _claimed(job["directory"], stack)
    actual = None if job["actual"] is None else _opened(job["actual"], stack)
    with (
        nullcontext() if job["listing"] is None else Path(job["listing"]).open("wb") as listing,
        open(job["notes"], "w+b") as notes,  # noqa: PTH123
    ):
        confine.enter(root)
        if actual is None:
            unpacked = unpack_layer(blocks, root, job["layer"], rules, notes)
            if listing is not None:
                notes.seek(0)
                unpacked = replace(unpacked, listing=str(write_listing(root, notes.read(), listing)))
            return asdict(unpacked)
        comparison, outline = Comparison(root, actual), Outline(actual)
        stack.callback(outline.close)
        if job["model"] == "whole":
            done = unpack_layer(blocks, root, job["layer"], rules, notes)
            return {**asdict(done), **_differences(comparison.run(same_content)), "sure": True}
        done = unpack_layer(blocks, root, job["layer"], replace(rules, outline=outline), notes)
    return {**asdict(done), **_differences(comparison.run(outline.judge)), "sure": outline.is_sure}


def _differences(found: Iterator[Difference]) -> dict[str, Any]:
    """So many of them as fit into one message, and how many there are."""
    differences: list[tuple[str, str]] = []
    count = room = 0
    for path, wrong in found:
        count += 1
        if room < _DIFFERENCES_MAX:
            differences.append((path.decode(errors="backslashreplace"), wrong))
            room += len(json.dumps(differences[-1]))
    return {"differences": differences, "count": count}


def _opened(path: str, stack: ExitStack) -> int:
    fd = os.open(path, _DIRECTORY)
    stack.callback(os.close, fd)
    return fd


def _claimed(path: str, stack: ExitStack) -> int:
    """Open what is to be filled, and hold its lock: should our parent die, nobody removes it under our hands."""
    fd = _opened(path, stack)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise StoreUnwritable(path, "it is being removed") from error
    return fd


def _join(job: dict[str, Any]) -> dict[str, Any]:
    """Join a layer to those below it."""
    with ExitStack() as stack:
        with open(job["notes"], "rb") as file:  # noqa: PTH123
            notes = read_notes(file)
        joined = Stack(
            _opened(job["directory"], stack), notes, [_opened(path, stack) for path in job["lowers"]]
        )
        joint = _claimed(job["joint"], stack)
        actual = None if job["actual"] is None else _opened(job["actual"], stack)
        confine.enter(joint)
        rights = {"privileged": job["privileged"], "ids": job["ids"]}
        if actual is None:
            return {"needed": join_layer(joined, joint, job["layer"], **rights)}
        comparison = Comparison(joint, actual)
        join_layer(joined, joint, job["layer"], **rights)
        return {**_differences(comparison.run(same_content)), "sure": True}


def _compare_with_list(job: dict[str, Any]) -> dict[str, Any]:
    """Compare a layer with the list that was made of it."""
    with ExitStack() as stack:
        actual = _opened(job["directory"], stack)
        listing = stack.enter_context(Path(job["listing"]).open("rb"))
        notes = Path(job["notes"])
        text = notes.read_bytes() if notes.exists() else b""
        if hashlib.file_digest(listing, "sha256").hexdigest() != job["digest"]:
            found: Iterator[Difference] = iter([(b"", "the list of its files is damaged")])
        else:
            listing.seek(0)
            confine.enter(actual)
            found = compare_listing(listing, text, actual)
        return {**_differences(found), "sure": True}


def _hashed(blocks: Iterator[bytes], verifier: Verifier, took: Took) -> Iterator[bytes]:
    for block in blocks:
        with took.time("hashing"):
            verifier.update(block)
        yield block


def _reported(blocks: Iterator[bytes], blob: _Blob, talk: _Conversation) -> Iterator[bytes]:
    """Say now and then how much of the blob they are made of."""
    reported = 0
    for block in blocks:
        yield block
        if (position := blob.position) - reported >= _REPORT:
            reported = position
            talk.send({"consumed": position})


def _answer(job: dict[str, Any], talk: _Conversation) -> None:
    """Do a job, and say how it went."""
    try:
        match job["kind"]:
            case "join":
                done = _join(job)
            case "list":
                done = _compare_with_list(job)
            case _:
                done = _do(job, talk)
    except _ParentGone:
        return
    except EngineError as error:
        talk.send({"failed": to_message(error)})
    except OSError as error:
        where = str(error.filename or job["directory"] or job["blob"])
        talk.send({"failed": to_message(store_error(error, where))})
    except MemoryError:
        talk.send({"failed": to_message(InvalidLayer(job["layer"], "it needs more memory than there is"))})
    except Exception as error:  # a bug of ours: it ends the job, with a sentence and not a traceback
        reason = f"{type(error).__name__}: {error}"
        talk.send({"failed": to_message(WorkerDied(job["layer"], reason))})
    else:
        talk.send({"done": done})


def _answer_in_a_copy(job: dict[str, Any], talk: _Conversation) -> int:
    """The same in a process that ends with the layer; returns its wait status.

    When it is done, it has read every watermark of the job and nothing else.
    """
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    try:
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == parent:
            _answer(job, talk)
    except BrokenPipeError:
        pass  # nobody listens any more
    finally:
        os._exit(0)


def main(maps: str) -> None:
    """Work until standard input ends, with these subordinate ids if there are any (`subids.to_text`)."""
    os.umask(0)
    syscalls.keep_freed_memory()
    load_decoders()
    talk = _Conversation()
    ids = subids.from_text(maps)
    try:
        confine.step_apart(ids)
    except OSError as error:
        # A layer whose files have other owners than it says would be a trap for whoever uses it.
        talk.send({"failed": to_message(WorkerNotStarted(error.strerror or str(error)))})
        return
    while (job := talk.receive()) is not None:
        job["ids"] = tuple(map(subids.count_of, ids or ((), ())))
        if status := _answer_in_a_copy(job, talk):
            # It could not say why: the exit code is for whoever waits for us.
            os._exit(128 + (status & 0x7F) if status & 0x7F else status >> 8)
