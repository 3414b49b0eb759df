"""Which program connects a container: what is here and fits."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

from aiodocker_lite.errors import NetworkUnavailable
from aiodocker_lite.network import cni, pasta, slirp
from aiodocker_lite.network.connection import Connection, Namespace
from aiodocker_lite.ports import Port
from aiodocker_lite.programs import find_program

Connect = Callable[[Namespace, tuple[Port, ...]], AbstractAsyncContextManager[Connection]]


def choose(wanted: str = "", *, privileged: bool) -> Connect:
    """The way to connect: plugins for root, else a program for users. Raises NetworkUnavailable."""
    if privileged and not wanted and (directory := cni.find()):
        return partial(cni.connected, directory)
    for name, connected in (("slirp4netns", slirp.connected), ("pasta", pasta.connected)):
        if name == "pasta" and privileged:
            continue  # it gives its rights up before it goes anywhere
        if wanted in ("", name) and (program := find_program(name)):
            return partial(connected, program)
    raise NetworkUnavailable(_missing(wanted, privileged=privileged))


def _missing(wanted: str, *, privileged: bool) -> str:
    if wanted:
        return f"the program {wanted}"
    if privileged:
        return "CNI plugins (Debian's containernetworking-plugins and iptables) or slirp4netns"
    return "slirp4netns or pasta (Debian's passt)"
