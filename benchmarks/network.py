"""Where the registry is: beside the tools, behind a link of a rate and a delay, or somewhere else.

Tools are in a network namespace of their own, so that its counters are theirs alone.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.interrupts import interruptible

_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)
_PORT = 5000
TLS_PORT = 5443

CLIENT, SERVER = "198.51.100.1", "198.51.100.2"
"""The ends of a link."""


@dataclass(frozen=True)
class Link:
    """Megabits a second, milliseconds there and back, and the part of the packets that is lost."""

    mbit: float
    ms: float
    loss: float = 0

    @classmethod
    def parse(cls, text: str) -> Link:
        """`1gbit,20ms` or `100mbit,5ms,1%`."""
        units = {"gbit": ("mbit", 1000.0), "mbit": ("mbit", 1.0), "ms": ("ms", 1.0), "%": ("loss", 0.01)}
        found = {"ms": 1.0}
        for part in text.split(","):
            number = re.fullmatch(r"(\d+(?:\.\d+)?)(gbit|mbit|ms|%)", part)
            if number is None:
                raise ValueError(f"{part!r} is not a number of gbit, mbit, ms or %: write 1gbit,20ms")
            name, factor = units[number[2]]
            found[name] = float(number[1]) * factor
        if not found.get("mbit"):
            raise ValueError(f"{text!r} has no rate: write 1gbit,20ms")
        if found.get("loss", 0) >= 1:
            raise ValueError(f"{text!r} loses every packet")
        return cls(**found)

    def __str__(self) -> str:
        lost = f",{self.loss * 100:g}%" if self.loss else ""
        return f"{self.mbit:g}mbit,{self.ms:g}ms{lost}"

    @property
    def rate(self) -> float:
        """Bytes per second."""
        return self.mbit * 1e6 / 8


@dataclass(frozen=True)
class Network:
    """The namespaces of the tools and of the registry, None for the host's, and the registry's address."""

    client: str | None
    server: str | None
    address: str

    def enter(self) -> None:
        """Move the calling process to where the tools are."""
        enter(self.client)

    def received(self) -> int:
        """Bytes that have come in by all interfaces."""
        at = ["-netns", self.client] if self.client else []
        words = ["ip", *at, "-json", "-stats", "link"]
        done = subprocess.run(words, capture_output=True, check=True, start_new_session=True)
        links = [each for each in json.loads(done.stdout) if self.client or each["ifname"] != "lo"]
        return sum(int(each["stats64"]["rx"]["bytes"]) for each in links)


def enter(namespace: str | None) -> None:
    if namespace is None:
        return
    with Path(f"/run/netns/{namespace}").open() as file:
        if _LIBC.setns(file.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")


@contextmanager
def namespaces(*names: str) -> Iterator[None]:
    with ExitStack() as closing:
        for name in names:
            _ip("netns", "add", name)
            closing.callback(_ip, "netns", "del", name)
            _ip("-netns", name, "link", "set", "lo", "up")
        yield


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, start_new_session=True)


@contextmanager
def network(link: Link | None) -> Iterator[Network]:
    """One namespace for tools and registry; with a link, two and who carries packets between them."""
    client, server = f"adlb-{os.getpid()}", f"adlb-{os.getpid()}-s"
    if link is None:
        with namespaces(client):
            yield Network(client, client, f"localhost:{_PORT}")
        return
    with namespaces(client, server):
        words = [sys.executable, "-m", "benchmarks.relay", client, server]
        words += map(str, (link.mbit, link.ms, link.loss))
        with subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        ) as relay:
            try:
                assert relay.stdout is not None
                if relay.stdout.readline() != "ready\n":
                    raise RuntimeError("the link did not come up")
                yield Network(client, server, f"{SERVER}:{_PORT}")
            finally:
                relay.terminate()


@contextmanager
def registry(work: Path, namespace: str | None) -> Iterator[None]:
    """Debian's registry on every address of a namespace, with its blobs in `work`; over TLS on a port of its own."""
    key, certificate = work / "registry.key", work / "registry.crt"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    words += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(words, capture_output=True, check=True, start_new_session=True)
    tls = f", tls: {{certificate: {certificate}, key: {key}}}"
    with ExitStack() as closing:
        for port, more in ((_PORT, ""), (TLS_PORT, tls)):
            config = work / f"registry{port}.yml"
            config.write_text(
                f"version: 0.1\nlog: {{level: error}}\n"
                f"storage: {{filesystem: {{rootdirectory: {work}/registry}}}}\n"
                f"http: {{addr: '0.0.0.0:{port}'{more}}}\n"
            )
            url = f"{'https' if more else 'http'}://127.0.0.1:{port}/v2/"
            serve = ["nice", "-n", "-15", "docker-registry", "serve", str(config)]
            log = work / f"registry{port}.log"
            closing.enter_context(serving(serve, ["curl", "-sfk", url], lambda: enter(namespace), log))
        yield


@contextmanager
def serving(
    words: Sequence[str], answers: Sequence[str], enter: Callable[[], None], log: Path
) -> Iterator[None]:
    """A server, from when a command that asks it succeeds."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            words, stdout=output, stderr=output, preexec_fn=enter, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 60
        while subprocess.run(
            answers, capture_output=True, check=False, preexec_fn=enter, start_new_session=True
        ).returncode:
            if process.poll() is not None or time.monotonic() > deadline:
                last = "".join(log.read_text(errors="replace").splitlines(keepends=True)[-3:])
                raise RuntimeError(f"{words[0]} did not start: {last}")
            with interruptible():
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
