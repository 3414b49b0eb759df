"""Servers of Debian's in containers: kept running, asked by their own clients, stopped in order, their data kept."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aiodocker_lite.testing.images import image, layer_of, write_layout
from tests.fakes.commands import command, environment
from tests.fakes.processes import program
from tests.fakes.real_images import SUITE

PACKAGES = ("postgresql", "python3", "redis-server")
IMAGE = "services:latest"
_DATABASE = "/var/lib/postgresql/data"
_POSTGRES = (
    f"cd /; set -e; bin=$(echo /usr/lib/postgresql/*/bin); "
    f"test -d {_DATABASE} || $bin/initdb -D {_DATABASE} --auth=trust >/dev/null; "
    f"exec $bin/postgres -D {_DATABASE} -c listen_addresses=127.0.0.1 -c unix_socket_directories=/tmp -p"
)
_PATIENCE = 30.0


def debian(work: Path) -> Path:
    """The tar of a Debian with these servers; made once in a directory."""
    tar = work / "debian.tar"
    if not tar.exists():
        made = work / "made.tar"
        include = f"--include={','.join(PACKAGES)}"
        subprocess.run(
            [program("mmdebstrap"), "--quiet", "--variant=minbase", include, SUITE, str(made)], check=True
        )
        made.rename(tar)
    return tar


def pack(tar: Path, work: Path) -> Path:
    """An OCI layout of one image with this root."""
    found = image(layer_of(tar.read_bytes(), "plain"), config={"Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]})
    return write_layout(work / "layout", {IMAGE: found})


@dataclass
class Services:
    """The command line on a store with that image, and what was seen."""

    store: Path
    home: Path
    runtime: str = "native"
    prefix: Sequence[str] = ()
    """What a command line begins with, to be another user's."""
    has_users: bool = True
    """Whether a container can have others than root."""
    findings: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)

    def adl(self, *words: str) -> str:
        """What a command says; one that fails is a finding."""
        done = self._do(*words)
        if done.returncode:
            self.findings.append(
                f"{' '.join(words)}: exit code {done.returncode}, {done.stderr.strip()[-300:]}"
            )
        return (done.stdout + done.stderr if words[0] == "logs" else done.stdout).strip()

    def redis(self) -> None:
        """A key outlives its container, and the server says goodbye."""
        user = ["-u", "redis"] if self.has_users else []
        port = free_port()
        server = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--dir", "/var/lib/redis", "--appendonly", "yes"]  # fmt: skip
        for asked, answer in ((["set", "kept", "by redis"], "OK"), (["get", "kept"], "by redis")):
            self.adl("run", "-d", "--name", "redis", *user, "-v", "keys:/var/lib/redis", IMAGE, *server)
            self.until("redis answers", lambda: self.client("redis-cli", "-p", str(port), "ping") == "PONG")
            self.same(f"redis {asked[0]}", self.client("redis-cli", "-p", str(port), *asked), answer)
            self.ends("redis", 0, "bye bye")

    def postgres(self) -> None:
        """A row outlives its container, and the server shuts down in order; it does not want to be root's."""
        if not self.has_users:
            self.refuses("no subordinate ids", "run", "--rm", "-u", "postgres", IMAGE, "true")
            return
        port = free_port()
        ask = ["psql", "-h", "127.0.0.1", "-p", str(port), "-U", "postgres", "-Atqc"]
        for query in ("create table kept as select n from generate_series(1, 1000) n", ""):
            self.adl(
                "run", "-d", "--name", "postgres", "-u", "postgres", "--stop-signal", "SIGINT", "--stop-timeout", "60",
                "-v", "rows:/var/lib/postgresql", IMAGE, "sh", "-c", f"{_POSTGRES} {port}",
            )  # fmt: skip
            self.until("postgres answers", lambda: self.client(*ask, "select 1") == "1")
            if query:
                self.same("postgres writes", self.client(*ask, query), "")
            self.same("postgres reads", self.client(*ask, "select sum(n) from kept"), "500500")
            self.ends("postgres", 0, "database system is shut down")

    def web(self, *network: str) -> None:
        """A web server in Python is reached by curl, on the host's network or at a published port."""
        port = free_port()
        inside = 8000 if network else port
        published = [word.replace("PORT", str(port)) for word in network]
        self.adl(
            "run", "-d", "--name", "web", "-w", "/etc", *published, IMAGE,
            "python3", "-u", "-m", "http.server", str(inside),
        )  # fmt: skip
        url = f"http://127.0.0.1:{port}/debian_version"
        self.until("the web server answers", lambda: bool(self._curl(url)))
        said = self.adl("exec", "web", "cat", "/etc/debian_version")
        self.same(f"curl {' '.join(network) or 'by the host'}", self._curl(url), said)
        self.ends("web", 137, '"GET /debian_version HTTP/1.1" 200')

    def debian(self) -> None:
        """What one does in a Debian: packages, users, a service's files."""
        questions = (
            ("dpkg --audit && dpkg-query -Wf '${Package}' redis-server", "redis-server"),
            ("apt-get -s remove redis-server | grep -c '^Remv redis-server'", "1"),
            ("python3 -c 'import ssl, socket, multiprocessing as m; print(sum(m.Pool(3).map(abs, range(-9, 0))))'", "45"),
        )  # fmt: skip
        users = (
            "useradd -m -u 4321 somebody && su somebody -c 'cd && touch x && id -un && stat -c %U x'",
            "somebody\nsomebody",
        )
        for asked, answer in (*questions, *([users] if self.has_users else [])):
            self.same(f"Debian: {asked}", self.adl("run", "--rm", IMAGE, "sh", "-c", asked), answer)

    def archive(self, path: Path) -> None:
        """An image of somebody else's, which has a shell: it runs, writes, is run again and copied from."""
        name = self.adl("load", "-q", "-i", str(path)).rpartition(": ")[2]  # or its ID
        script = "echo kept >/made; i=0; while [ $i -lt 3 ]; do i=$((i+1)); echo $i; done"
        self.same(
            f"{name} runs", self.adl("run", "--name", "small", name, "/bin/sh", "-c", script), "1\n2\n3"
        )
        copied = self.adl("cp", "small:/made", "-")
        self.same(f"{name} wrote", str("kept\n" in copied), "True")
        self.adl("rm", "small")

    def ends(self, name: str, code: int, said: str) -> None:
        """Stop it; it ends in order, its log has these words, and it can be removed."""
        self.adl("stop", name)
        self.same(f"{name} ends", self.adl("inspect", "-f", "{{.State.ExitCode}}", name), str(code))
        log = self.adl("logs", name)
        self.same(f"{name} says '{said}'", str(said in log), "True", log[-300:])
        self.adl("rm", name)

    def refuses(self, reason: str, *words: str) -> None:
        """Whether a command is refused in a sentence of ours with this reason."""
        done = self._do(*words)
        sentence = done.stderr.strip().rpartition("\n")[2]
        is_so = (done.returncode, sentence.startswith("aiodocker-lite: "), reason in sentence) == (
            125,
            True,
            True,
        )
        self.same(f"refused: {sentence}", str(is_so), "True", done.stderr[-300:])

    def until(self, what: str, holds: Callable[[], bool]) -> None:
        """Ask until it is so."""
        end = time.monotonic() + _PATIENCE
        while not holds():
            if time.monotonic() > end:
                self.findings.append(f"{what}: not after {_PATIENCE:.0f} s; {self.adl('ps', '-a')}")
                return
            time.sleep(0.1)
        self.seen.append(what)

    def same(self, what: str, found: str, expected: str, more: str = "") -> None:
        """Whether this is that."""
        if found == expected:
            self.seen.append(what)
        else:
            self.findings.append(f"{what}: {found!r} and not {expected!r} {more}")

    def client(self, *words: str) -> str:
        """What a client says: the host's own where there is one, else the image's, in a container of its own."""
        if shutil.which(words[0]):
            return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()
        return self._do("run", "--rm", IMAGE, *words).stdout.strip()

    def _curl(self, url: str) -> str:
        curl = [program("curl"), "--silent", "--fail", "--noproxy", "*", url]
        return subprocess.run(curl, capture_output=True, text=True, check=False).stdout.strip()

    def _do(self, *words: str) -> subprocess.CompletedProcess[str]:
        if words[0] == "run":
            words = ("run", "--runtime", self.runtime, *words[1:])
        argv = [*self.prefix, *command(self.store, *words)]
        return subprocess.run(argv, capture_output=True, text=True, env=environment(self.home), check=False)


def free_port() -> int:
    """A port of loopback that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port
