"""A private network by CNI plugins, for root: a bridge of the host, with published ports (CNI specification 0.4).

What a killed engine leaves, an address and rules of a firewall, is written down before it is made, and
taken back by `sweep`. What stays is the bridge and three rules for all that are on it: plugins that make
these for each container do not take them back when its namespace has gone.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread

from aiodocker_lite.errors import NetworkFailed
from aiodocker_lite.network.connection import Connection, Namespace
from aiodocker_lite.network.free import held_ports
from aiodocker_lite.ports import Port
from aiodocker_lite.programs import find_program

_DIRECTORIES = ("/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni")
_NEEDED = ("bridge", "host-local", "portmap")
_FIREWALL = "iptables"
_SUBNET = "10.89.64.0/18"
_BRIDGE: dict[str, Any] = {
    "cniVersion": "0.4.0",
    "name": "aiodocker-lite",
    "type": "bridge",
    "bridge": "adl0",
    "isGateway": True,
    "hairpinMode": True,
    "ipam": {"type": "host-local", "ranges": [[{"subnet": _SUBNET}]], "routes": [{"dst": "0.0.0.0/0"}]},
}
_RULES = (
    "-t nat {} POSTROUTING -s {subnet} ! -d {subnet} -j MASQUERADE",
    "{} FORWARD -s {subnet} -j ACCEPT",
    "{} FORWARD -d {subnet} -j ACCEPT",
)
_PORTS: dict[str, Any] = {"cniVersion": "0.4.0", "name": "aiodocker-lite", "type": "portmap", "snat": True}


def find() -> str | None:
    """The directory that has all plugins that are needed, or None; they need a firewall too."""
    if find_program(_FIREWALL) is None:
        return None
    return next(
        (place for place in _DIRECTORIES if all(os.access(f"{place}/{name}", os.X_OK) for name in _NEEDED)),
        None,
    )


@asynccontextmanager
async def connected(
    directory: str, namespace: Namespace, ports: tuple[Port, ...]
) -> AsyncIterator[Connection]:
    """Connect while the block runs. Raises NetworkFailed."""
    note = namespace.place / f"{namespace.id}.json"
    await _take_back(note)  # it was killed, and is started again
    # Rules of a firewall hold no port: somebody else could listen on it, and hear nothing.
    with held_ports(ports) as chosen:
        mappings = {"portMappings": [_mapping(port) for port in chosen]}
        plans = [_BRIDGE, *([{**_PORTS, "runtimeConfig": mappings}] if chosen else [])]
        await to_thread.run_sync(_write, note, json.dumps({"directory": directory, "plans": plans}))
        try:
            await _let_through()
            result: dict[str, Any] = {}
            for plan in plans:
                more = {"prevResult": result} if result else {}
                result = await _call(directory, "ADD", plan | more, namespace.id, namespace.path)
            yield Connection(result["ips"][0]["address"].partition("/")[0], chosen)
        finally:
            with anyio.CancelScope(shield=True):
                await _take_back(note)


async def sweep(place: Path, kept_from_running: Callable[[str], AbstractContextManager[bool]]) -> None:
    """Take back what belongs to no container that lives; while it is, that is kept from it. Raises NetworkFailed."""
    for note in await to_thread.run_sync(lambda: list(place.glob("*.json"))):
        with kept_from_running(note.stem) as is_dead:
            if is_dead:
                await _take_back(note)


async def _let_through() -> None:
    """Let the bridge out, whatever others have forbidden. Raises NetworkFailed."""
    program = find_program(_FIREWALL)
    if program is None:
        raise NetworkFailed(_FIREWALL, "it is not here any more")
    for rule in _RULES:
        for verb in ("-C", "-I"):
            words = [program, "-w", *rule.format(verb, subnet=_SUBNET).split()]
            done = await anyio.run_process(words, check=False)
            if done.returncode == 0:
                break
        else:
            raise NetworkFailed(program, done.stderr.decode(errors="replace").strip())


async def _take_back(note: Path) -> None:
    try:
        found = json.loads(await to_thread.run_sync(note.read_text))
    except (FileNotFoundError, ValueError):  # somebody else did, or nothing had been made yet
        note.unlink(missing_ok=True)
        return
    # The namespace goes by itself, and may be gone: plugins are told none (specification, "DEL").
    for plan in reversed(found["plans"]):
        await _call(found["directory"], "DEL", plan, note.stem, "")
    note.unlink(missing_ok=True)


def _write(note: Path, text: str) -> None:
    note.parent.mkdir(exist_ok=True)
    note.write_text(text)


def _mapping(port: Port) -> dict[str, Any]:
    mapping = {"hostPort": port.host, "containerPort": port.container, "protocol": port.protocol}
    return mapping | ({"hostIP": port.address} if port.address else {})


async def _call(
    directory: str, verb: str, plan: dict[str, Any], container: str, namespace: str
) -> dict[str, Any]:
    """Call a plugin; its answer is what it made. Raises NetworkFailed."""
    program = f"{directory}/{plan['type']}"
    done = await anyio.run_process(
        [program],
        input=json.dumps(plan).encode(),
        stderr=subprocess.PIPE,
        check=False,
        env={
            "CNI_COMMAND": verb,
            "CNI_CONTAINERID": container,
            "CNI_NETNS": namespace,
            "CNI_IFNAME": "eth0",
            "CNI_PATH": directory,
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        },
    )
    try:
        answer: dict[str, Any] = json.loads(done.stdout or b"{}")
    except ValueError:
        answer = {}
    if done.returncode != 0:
        complaint = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise NetworkFailed(program, answer.get("msg") or complaint or f"it ended with {done.returncode}")
    return answer
