"""A process that unpacks one layer after the other: hash, inflate, hash, unpack in one pass.

It is started by `pool.py`, steps apart from the host, and forks for each layer a copy of itself that
is confined to the layer's directory and ends with it (`confine.py`). It talks JSON lines. A job comes in
as ``{"blob": …}``, then ``{"have": n}`` whenever more of the blob's file is complete. Out go
``{"consumed": n}`` now and then, and at the end ``{"done": …}`` or ``{"failed": …}``. A job with
``"joint"`` joins a layer that is unpacked to those below it. Errors cross as slug and facts, never
pickled: this process reads what strangers wrote.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
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
from aiodocker_lite.layer.decompress import plain_blocks
from aiodocker_lite.layer.join import Stack, join_layer
from aiodocker_lite.layer.notes import read_notes
from aiodocker_lite.layer.tar import TarReader
from aiodocker_lite.layer.unpack import Unpacked, UnpackRules, store_error, unpack_layer
from aiodocker_lite.settings import Limits
from aiodocker_lite.verify import Verifier

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = 1 << 18
_REPORT = 1 << 20


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

    def __init__(self, talk: _Conversation, job: dict[str, Any], fd: int) -> None:
        self._talk = talk
        self._fd = fd
        self._size: int = job["size"]
        self._have: int = job["have"]
        self._verifier = Verifier(f"layer {job['layer']}", Digest.parse(job["digest"]), self._size)

    def __iter__(self) -> Iterator[bytes]:
        position = reported = 0
        while position < self._size:
            if position == self._have:
                self._wait()
            chunk = os.pread(self._fd, min(_READ, self._have - position), position)
            if not chunk:
                raise StoreUnwritable("the file of a blob", "it became shorter while it was read")
            self._verifier.update(chunk)
            position += len(chunk)
            yield chunk
            if position - reported >= _REPORT:
                reported = position
                self._talk.send({"consumed": position})
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
    blob = os.open(job["blob"], os.O_RDONLY | os.O_CLOEXEC)
    try:
        blocks = _hashed(plain_blocks(iter(_Blob(talk, job, blob)), layer), diff_id)
        if job["directory"] is None:
            done = Unpacked(sum(1 for _ in TarReader(blocks, layer, limits, job["size"])), 0, 0)
        else:
            root = os.open(job["directory"], _DIRECTORY)
            try:
                with open(job["notes"], "wb") as notes:  # noqa: PTH123
                    confine.enter(root)
                    rules = UnpackRules(job["privileged"], limits, job["size"], job["ids"])
                    done = unpack_layer(blocks, root, layer, rules, notes)
            finally:
                os.close(root)
    finally:
        os.close(blob)
    diff_id.finish()
    return asdict(done)


def _join(job: dict[str, Any]) -> dict[str, Any]:
    """Join a layer to those below it."""
    with ExitStack() as stack:

        def directory(path: str) -> int:
            fd = os.open(path, _DIRECTORY)
            stack.callback(os.close, fd)
            return fd

        with open(job["notes"], "rb") as file:  # noqa: PTH123
            notes = read_notes(file)
        joined = Stack(directory(job["directory"]), notes, [directory(path) for path in job["lowers"]])
        joint = directory(job["joint"])
        confine.enter(joint)
        rights = {"privileged": job["privileged"], "ids": job["ids"]}
        return {"needed": join_layer(joined, joint, job["layer"], **rights)}


def _hashed(blocks: Iterator[bytes], verifier: Verifier) -> Iterator[bytes]:
    for block in blocks:
        verifier.update(block)
        yield block


def _answer(job: dict[str, Any], talk: _Conversation) -> None:
    """Do a job, and say how it went."""
    try:
        done = _join(job) if "joint" in job else _do(job, talk)
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
