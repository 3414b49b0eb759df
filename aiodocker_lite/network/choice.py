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


_PROGRAMS = {"slirp4netns": slirp.connected, "pasta": pasta.connected}


def available(*, privileged: bool) -> list[str]:
    """What `--network` takes here for a network of a container's own; nothing where there can be none."""
    programs = [name for name in _PROGRAMS if _fits(name, privileged) and find_program(name)]
    return ["private", *programs] if programs or (privileged and cni.find()) else []


def choose(wanted: str = "", *, privileged: bool) -> Connect:
    """The way to connect: plugins for root, else a program for users. Raises NetworkUnavailable."""
    if privileged and not wanted and (directory := cni.find()):
        return partial(cni.connected, directory)
    for name, connected in _PROGRAMS.items():
        if wanted in ("", name) and _fits(name, privileged) and (program := find_program(name)):
            return partial(connected, program)
    raise NetworkUnavailable(_missing(wanted, privileged=privileged))


def _fits(name: str, privileged: bool) -> bool:
    # Root's gives its rights up before it goes anywhere.
    return not (privileged and name == "pasta")


def _missing(wanted: str, *, privileged: bool) -> str:
    if wanted:
        return f"the program {wanted}"
    if privileged:
        return "CNI plugins (Debian's containernetworking-plugins and iptables) or slirp4netns"
    return "slirp4netns or pasta (Debian's passt)"
