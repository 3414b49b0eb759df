"""`--network` and `-p`: what a container is connected to, and by what address it is reached."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiodocker_lite.testing.images import image, layer, write_layout
from tests.fakes.commands import Adl, Done, Names, command, environment, run_command
from tests.fakes.ordinary import as_ordinary_user
from tests.fakes.processes import program

WAITING = ("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done")


@pytest.fixture
def here(own_box: Adl) -> Iterator[Adl]:
    """The command line on a store of its own, of whose containers nothing is left."""
    yield own_box
    names = own_box("ps", "-aq").out.split()
    assert not names or own_box("rm", "-f", *names).code == 0


def devices(adl: Adl, image: str, *options: str) -> list[str]:
    done = adl("run", "--rm", "-q", *options, image, "sh", "-c", "cat /proc/net/dev")
    assert (done.code, done.err) == (0, "")
    return sorted(line.partition(":")[0].strip() for line in done.out.splitlines()[2:])


def test_none_is_a_loopback_and_nothing_else(box: Adl, names: Names) -> None:
    """And that one is up."""
    assert devices(box, names.box, "--network", "none") == ["lo"]
    route = ("sh", "-c", "cat /proc/net/fib_trie | grep -c 127.0.0.1; cat /proc/net/route | wc -l")
    assert box("run", "--rm", "-q", "--network=none", names.box, *route).out.split() == ["2", "1"]


@pytest.mark.parametrize("network", ["host", "default", ""])
def test_the_hosts_is_the_hosts(box: Adl, names: Names, network: str) -> None:
    """Which is the default."""
    mine = sorted(line.split(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()[2:])
    assert devices(box, names.box, "--network", network) == mine


@pytest.mark.parametrize("network", ["private", "bridge", "slirp4netns"])
def test_a_private_one_has_an_address_that_the_container_knows(here: Adl, names: Names, network: str) -> None:
    """By its own name; and a resolver that can be reached."""
    program("slirp4netns")
    done = here(
        "run",
        "--rm",
        "-q",
        "-h",
        "me",
        "--network",
        network,
        names.box,
        "cat",
        "/etc/hosts",
        "/etc/resolv.conf",
    )
    address = done.out.splitlines()[2].split()
    assert address[1] == "me"
    assert address[0].startswith("10.")
    assert "nameserver 127" not in done.out
    assert devices(here, names.box, "--network", network) == ["eth0", "lo"]


@pytest.mark.root
def test_a_published_port_leads_in_and_another_container_can_share(
    here: Adl, names: Names, root: Path
) -> None:
    """curl from here, the sharer on its loopback; `ps` shows the port, and when it ends all is taken back."""
    python = Path(program("busybox"))
    serve = "busybox httpd -f -h /web -p 80"
    options = ("-v", f"{python}:/bin/busybox:ro", "-v", f"{root.parent}:/web:ro")
    (root.parent / "index.html").write_text("here I am")
    done = here("run", "-d", "-q", "--name", "web", "-p", "80", *options, names.box, "sh", "-c", serve)
    assert done.code == 0, done.err
    ports = here("ps", "--format", "{{.Ports}}|{{.Networks}}").out.strip()
    assert ports.endswith("->80/tcp|private")
    port = ports.partition("->")[0].rpartition(":")[2]
    assert curl(f"http://127.0.0.1:{port}/index.html") == "here I am"
    share = ("--network", "container:web", "-v", f"{python}:/bin/wget:ro", names.box, "wget", "-qO-")
    assert here("run", "--rm", "-q", *share, "http://127.0.0.1/index.html").out == "here I am"
    taken = here("run", "--rm", "-q", "-p", f"{port}:80", names.box, "true")
    assert (taken.code, "port is already allocated" in taken.sentence) == (125, True)
    assert here("rm", "-f", "web").code == 0
    assert list((root / "networks").iterdir()) == []
    done = here("run", "--rm", "-q", "--network", "container:web", names.box, "true")
    assert (done.code, done.sentence) == (125, "No such container: web")


@pytest.mark.root
def test_all_that_an_image_exposes_can_be_published(here: Adl, names: Names, tmp_path: Path) -> None:
    """-P gives each a free port of its own, which `port`, `ps` and `inspect` show; -p may choose one of them."""
    shell = layer({"bin/": b"", "bin/sh": Path(program("busybox")).read_bytes()}, mode=0o755)
    exposed: dict[str, dict[str, str]] = {"8080/tcp": {}, "53/udp": {}, "9000-9001/tcp": {}}
    images = {
        "open": image(shell, config={"ExposedPorts": exposed}),
        "sly": image(shell, config={"ExposedPorts": {"127.0.0.1:1:80/tcp": {}}}),
    }
    layout = write_layout(tmp_path / "layout", images)
    name, sly = (names.registry.push(layout, f"ports/{each}", each) for each in images)
    waiting = ("sh", "-c", "while :; do sleep 0.1; done")
    done = here("run", "-dqP", "-p", "127.0.0.1::9001", "--name", "one", name, *waiting)
    assert done.code == 0, done.err
    lines = here("port", "one").out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "53/udp -> 0.0.0.0", "8080/tcp -> 0.0.0.0", "9000/tcp -> 0.0.0.0", "9001/tcp -> 127.0.0.1",
    ]  # fmt: skip
    places = dict(line.split(" -> ") for line in lines)
    assert len(set(places.values())) == 4
    assert (
        here("port", "one", "8080").out
        == here("container", "port", "one", "8080/tcp").out
        == f"{places['8080/tcp']}\n"
    )
    assert f"{places['53/udp']}->53/udp" in here("ps", "--format", "{{.Ports}}").out
    found = json.loads(here("inspect", "one").out)[0]
    assert found["HostConfig"]["PublishAllPorts"] is True
    assert (
        found["NetworkSettings"]["Ports"]["8080/tcp"][0]["HostPort"] == places["8080/tcp"].partition(":")[2]
    )
    missing = here("port", "one", "81")
    assert (missing.code, missing.sentence) == (1, "No public port '81/tcp' published for one")
    assert here("stop", "-t", "0", "one").code == 0
    assert here("port", "one").out == ""

    refused = here("run", "--rm", "-qP", sly, "true")
    assert (refused.code, refused.sentence[:51]) == (
        125,
        "invalid value for --publish-all: '127.0.0.1:1:80/tc",
    )
    assert here("run", "--rm", "-qP", names.box, "true").code == 0, "nothing is exposed, nothing is published"


def curl(url: str) -> str:
    """What curl gets, once somebody listens."""
    words = [
        "curl",
        "-sf",
        "--retry",
        "20",
        "--retry-connrefused",
        "--retry-delay",
        "1",
        "--max-time",
        "20",
        url,
    ]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


@pytest.mark.root
@pytest.mark.parametrize("next", ["run", "prune", "rm", "start"])
def test_what_a_killed_engine_left_goes_with_the_next_command(
    here: Adl, names: Names, root: Path, tmp_path: Path, next: str
) -> None:
    """Its address and its rules, though nobody was there to take them back."""
    words = command(
        root, "run", "--name", "c", "-q", "-p", "80", names.box, "sh", "-c", "echo up; exec sleep 1000"
    )
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment(tmp_path)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        notes = list((root / "networks").glob("*.json"))
        os.kill(process.pid, signal.SIGKILL)
    if not notes:
        pytest.skip("needs CNI plugins and iptables")
    identity = notes[0].stem
    assert identity in rules()
    while here("ps", "-q").out:
        time.sleep(0.01)
    by = {"run": ["--rm", "-q", names.box, "true"], "prune": ["-f"], "rm": ["c"], "start": ["c"]}
    done = here(next, *by[next])
    assert (done.code, done.err) == (0, "")
    if next == "start":  # and is made once more
        assert here("stop", "-t", "0", "c").code == 0
    assert identity not in rules()
    assert list((root / "networks").iterdir()) == []


def rules() -> str:
    return subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--network", "nonsense"], "invalid value for --network: network nonsense not found"),
        (["--network", "container:"], "invalid value for --network: container: needs the name"),
        (["--network", "container:nobody"], "No such container: nobody"),
        (["--network", "host", "-p", "80"], "invalid value for --publish: with --network host"),
        (["-p", "80:90:100:110"], "invalid value for --publish"),
        (["--sysctl", "net.ipv4.ip_forward=1"], "invalid value for --sysctl"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_one_sentence(box: Adl, names: Names, words: list[str], sentence: str) -> None:
    """And nothing is started."""
    done = box("run", "--rm", *words, names.box, "true")
    assert done.code == 125
    assert done.sentence.startswith(sentence)


def test_a_network_of_its_own_has_settings_of_its_own(box: Adl, names: Names) -> None:
    """Which can be set, and are not the host's."""
    before = Path("/proc/sys/net/ipv4/ip_default_ttl").read_text()
    words = ("--network", "none", "--sysctl", "net.ipv4.ip_default_ttl=77", names.box)
    assert box("run", "--rm", "-q", *words, "cat", "/proc/sys/net/ipv4/ip_default_ttl").out == "77\n"
    assert Path("/proc/sys/net/ipv4/ip_default_ttl").read_text() == before


def test_inspect_knows_the_connection(here: Adl, names: Names) -> None:
    """As JSON."""
    assert here("run", "-d", "-q", "--name", "c", "--network", "private", names.box, *WAITING).code == 0
    found = json.loads(here("inspect", "c").out)[0]
    assert found["Name"] == "/c"


@pytest.mark.root
@pytest.mark.parametrize("network", ["slirp4netns", "pasta"])
def test_an_ordinary_user_has_private_networks_too(
    names: Names, tmp_path_factory: pytest.TempPathFactory, network: str
) -> None:
    """With an address, a way in and a sharer; and nothing is left of the program that makes it."""
    program(network)
    if os.geteuid() != 0:
        pytest.skip("needs uid 0, to become another")
    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        home.chmod(0o777)
        prefix = as_ordinary_user(home)

        def adl(*words: str) -> Done:
            return run_command([*prefix, *command(home / "store", *words)], environment(home))

        busybox = f"{program('busybox')}:/bin/busybox:ro"
        (home / "index.html").write_text("here I am")
        assert adl("pull", "-q", names.box).code == 0
        serve = ("sh", "-c", "busybox httpd -f -h /web -p 80")
        mounts = ("-v", busybox, "-v", f"{home}:/web:ro")
        done = adl(
            "run", "-d", "-q", "--name", "web", "--network", network, "-p", "80", *mounts, names.box, *serve
        )
        assert done.code == 0, done.err
        port = adl("ps", "--format", "{{.Ports}}").out.partition("->")[0].rpartition(":")[2]
        assert curl(f"http://127.0.0.1:{port}/index.html") == "here I am"
        fetch = ("busybox", "wget", "-qO-", "http://127.0.0.1/index.html")
        shared = adl("run", "--rm", "-q", "--network", "container:web", "-v", busybox, names.box, *fetch)
        assert (shared.out, shared.err) == ("here I am", "")
        assert adl("exec", "web", *fetch).out == "here I am"
        assert adl("rm", "-f", "web").code == 0
    assert not [found for found in Path("/proc").glob("[0-9]*/cmdline") if place.encode() in read(found)]


def read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:  # gone meanwhile
        return b""
