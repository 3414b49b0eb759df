"""Programs that connect a namespace, each for real: an address, a way out, and a port that leads in."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import anyio
import pytest

from aiodocker_lite.errors import NetworkFailed, NetworkUnavailable
from aiodocker_lite.network import cni, slirp
from aiodocker_lite.network.choice import Connect, choose
from aiodocker_lite.network.ready import wait_until_ready
from aiodocker_lite.ports import Port
from aiodocker_lite.programs import find_program
from tests.fakes.processes import program
from tests.network.conftest import fetch, inside, namespace, web_server

pytestmark = [pytest.mark.anyio, pytest.mark.root]


def plugins() -> Connect:
    directory = cni.find()
    if directory is None:
        pytest.skip("needs CNI plugins and iptables")
    return partial(cni.connected, directory)


WAYS: dict[str, Callable[[], Connect]] = {
    "cni": plugins,
    "slirp4netns": lambda: partial(slirp.connected, program("slirp4netns")),
}


@pytest.fixture(params=WAYS)
def connected(request: pytest.FixtureRequest) -> Connect:
    """One of the ways that there are."""
    if os.geteuid() != 0:
        pytest.skip("needs uid 0")
    return WAYS[request.param]()


async def test_a_port_of_the_host_leads_into_it(connected: Connect, tmp_path: Path) -> None:
    """By the number that was said, or one that was free; from this machine itself too."""
    ports = (Port(80), Port(81, protocol="udp"))
    with namespace(tmp_path) as where:
        async with connected(where, ports) as connection:
            web, udp = connection.ports
            assert web.host
            assert udp.host
            assert "eth0" in inside(where, "ip", "-br", "addr")
            assert "default" in inside(where, "ip", "route")
            with web_server(where, "here I am", 80):
                url = f"http://127.0.0.1:{web.host}/"
                assert await anyio.to_thread.run_sync(fetch, url) == "here I am"
        with pytest.raises(subprocess.CalledProcessError):
            fetch(url)


async def test_it_reaches_out(connected: Connect, tmp_path: Path) -> None:
    """To an address of the host's that is not its loopback."""
    route = subprocess.run(
        ["ip", "-j", "route", "get", "192.0.2.77"], capture_output=True, text=True, check=False
    )
    address = json.loads(route.stdout or "[{}]")[0].get("prefsrc")
    if not address:
        pytest.skip("needs a host with a route")
    with namespace(tmp_path) as where, socket.create_server((address, 0)) as server:
        async with connected(where, ()):
            code = (
                f"import socket; print(socket.create_connection(({address!r}, {server.getsockname()[1]}), 5))"
            )
            assert "laddr" in await anyio.to_thread.run_sync(inside, where, "python3", "-c", code)


async def test_a_port_that_somebody_has_is_one_sentence(connected: Connect, tmp_path: Path) -> None:
    """In docker's words, and nothing is left of the attempt."""
    with namespace(tmp_path) as where, socket.create_server(("0.0.0.0", 0)) as server:
        taken = Port(80, server.getsockname()[1])
        with pytest.raises(NetworkFailed, match="port is already allocated"):
            async with connected(where, (taken,)):
                pass
    assert list(tmp_path.iterdir()) == []


async def test_what_a_killed_engine_left_is_taken_back(tmp_path: Path) -> None:
    """Addresses and rules of the firewall, once their container does not live any more."""
    connected = plugins()
    with namespace(tmp_path) as where:
        with anyio.CancelScope() as scope:
            async with connected(where, (Port(80),)) as connection:
                note = tmp_path / f"{where.id}.json"
                text = note.read_text()
                lease = Path("/var/lib/cni/networks/aiodocker-lite") / connection.address
                assert lease.exists()
                rules = subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout
                assert where.id in rules
                note.unlink()  # as if nobody had been told to take anything back
                scope.cancel()
        assert lease.exists()
        note.write_text(text)
        await cni.sweep(tmp_path, lambda _: nullcontext(False))
        assert lease.exists()
        await cni.sweep(tmp_path, lambda _: nullcontext(True))
        assert not lease.exists()
        assert not note.exists()
        rules = subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout
        assert where.id not in rules


def test_a_way_that_is_not_here_is_one_sentence() -> None:
    """It says what can be installed."""
    with pytest.raises(NetworkUnavailable, match="needs the program nothing; or choose"):
        choose("nothing", privileged=False)
    with pytest.raises(NetworkUnavailable, match="needs the program pasta"):
        choose("pasta", privileged=True)
    assert find_program("sh") in ("/bin/sh", "/usr/bin/sh")
    assert find_program("no-such-program") is None


async def test_a_program_that_ends_early_is_not_ready() -> None:
    """The end of a pipe is no message: its last words are the reason."""
    ready, tell_ready = os.pipe()
    words = [sys.executable, "-c", f"import os, sys; os.close({tell_ready}); sys.exit('no such device')"]
    with os.fdopen(ready):
        async with await anyio.open_process(words, pass_fds=(tell_ready,)) as process:
            os.close(tell_ready)
            with pytest.raises(NetworkFailed, match="no such device"):
                await wait_until_ready("it", process, ready)
