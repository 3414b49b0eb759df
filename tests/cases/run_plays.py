"""Plays the command lines of `run_lines` with docker and with us, and compares."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from aiodocker_lite.testing.images import image, layer_of, write_layout
from tests.cases.run_lines import LINES, Line
from tests.fakes.commands import environment
from tests.fakes.docker import dockerd
from tests.fakes.forks import Forks
from tests.fakes.processes import program

ORDINARY = 65534
PASSWD = b"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1001::/home/user:/bin/sh\n"
GROUP = b"root:x:0:\nuser:x:1001:\nwheel:x:10:user\n"
_SCRIPT = b'#!/bin/sh\necho entry $(id -un) $PWD $FROM_IMAGE "$@"\n'
_CAGE = Path(__file__).parents[1] / "runtime" / "cage.py"
WAYS = ("native", "crun", "runc", "rootless", "rootless-crun")


@dataclass(frozen=True)
class Answer:
    """What came of a command line."""

    code: int
    out: bytes
    err: str = ""

    def differs(self, other: Answer) -> str:
        """In a few words, or nothing."""
        if self.code != other.code:
            return f"code {self.code}, docker's {other.code} ({self.err.strip()[-200:]} / {other.err.strip()[-200:]})"
        if self.out != other.out:
            return f"output {self.out[:200]!r}, docker's {other.out[:200]!r}"
        return ""


@dataclass(frozen=True)
class Stage:
    """Docker and our stores with the same images, and a directory of the host."""

    docker: list[str]
    place: Path
    forks: Forks | None = None
    """What our commands as root are forks of, or each is a process anew."""

    def with_docker(self, line: Line) -> Answer:
        """Docker's answer."""
        return self._play([*self.docker, "run", "--rm", *self._words(line, "box", "svc")], line)

    def with_us(self, line: Line, way: str) -> Answer:
        """Ours, with this backend, as root or as an ordinary user."""
        is_rootless, runtime = _parts(way)
        chosen = [] if runtime == "native" else [f"--runtime={runtime}"]
        store = self.place / ("users" if is_rootless else "roots")
        words = [
            "--root",
            str(store / "store"),
            "run",
            "--rm",
            "-q",
            *chosen,
            *self._words(line, "box", "svc"),
        ]
        if self.forks and not is_rootless and self.forks.can(self._environment):
            code, out, err = self.forks.run(words, self._environment, line.stdin, self.place)
            return Answer(code, out, err.decode(errors="replace"))
        command = [sys.executable, "-m", "aiodocker_lite", *words]
        if is_rootless:
            command = [sys.executable, str(_CAGE), "ordinary-user:nobody:200000:65536", *command]
        return self._play(command, line)

    @property
    def _environment(self) -> dict[str, str]:
        return environment(self.place, FROM_HOST="host's", DOCKER_CONFIG=str(self.place))

    def _words(self, line: Line, box: str, svc: str) -> list[str]:
        known = {"BOX": box, "SVC": svc}
        words = [known.get(word, word) for word in line.words]
        return [re.sub(r"\bDIR\b", str(self.place / "dir"), word) for word in words]

    def _play(self, command: list[str], line: Line) -> Answer:
        env = self._environment
        done = subprocess.run(
            command, input=line.stdin, capture_output=True, env=env, cwd=self.place, timeout=60, check=False
        )
        return Answer(done.returncode, done.stdout, done.stderr.decode(errors="replace"))


@contextmanager
def staging(place: Path, ways: tuple[str, ...] = WAYS, forks: Forks | None = None) -> Iterator[Stage]:
    """Make the images, give them to docker and to our stores, and have dockerd run."""
    place.chmod(0o755)
    layout = _images(place)
    _directory(place / "dir")
    with ExitStack() as stack:
        docker = stack.enter_context(dockerd(place))
        for name in ("box", "svc"):
            archive = place / f"{name}.tar"
            skopeo = [
                program("skopeo"),
                "copy",
                "-q",
                f"oci:{layout}:{name}",
                f"docker-archive:{archive}:{name}:latest",
            ]
            subprocess.run(skopeo, check=True)
            assert docker("load", "-i", str(archive)) is not None
            for store, user in (("roots", 0), ("users", ORDINARY)):
                if user and not any(way.startswith("rootless") for way in ways):
                    continue
                where = place / store
                where.mkdir(exist_ok=True)
                os.chown(where, user, user)
                archive.chmod(0o644)
                load = [
                    sys.executable,
                    "-m",
                    "aiodocker_lite",
                    "--root",
                    str(where / "store"),
                    "load",
                    "-i",
                    str(archive),
                ]
                if user:
                    load = [sys.executable, str(_CAGE), "ordinary-user:nobody:200000:65536", *load]
                subprocess.run(load, check=True, capture_output=True, env=environment(place))
        yield Stage(docker.command, place, forks)


def judge(line: Line, docker: Answer, ours: Answer, way: str) -> str:
    """What is wrong with our answer, or nothing."""
    if "Traceback" in ours.err:
        return "a traceback"
    if not is_documented(line, way):
        return ours.differs(docker)
    if line.differs:
        return ""
    return "" if ours.code == 125 and ours.err.startswith("aiodocker-lite: ") else f"not refused: {ours}"


def is_documented(line: Line, way: str) -> bool:
    """Whether it is known that this way of ours has another answer, or none."""
    is_rootless, runtime = _parts(way)
    if line.differs:
        return line.by in ("", runtime)
    return (line.needs_root and is_rootless) or line.only not in ("", runtime)


def _parts(way: str) -> tuple[bool, str]:
    return way.startswith("rootless"), way.removeprefix("rootless").strip("-") or "native"


def names(every: int = 1) -> list[str]:
    """The names of all lines, or of every so many-th."""
    return list(LINES)[::every]


def box_tree() -> bytes:
    """The tar of a small system with a shell."""
    busybox = Path(program("busybox"))
    applets = subprocess.check_output([busybox, "--list"], text=True).split()
    directories = {"bin": 0o755, "etc": 0o755, "tmp": 0o1777, "mnt": 0o755, "home": 0o755, "root": 0o700}
    files = {"bin/busybox": busybox.read_bytes(), "etc/passwd": PASSWD, "etc/group": GROUP, "entry": _SCRIPT}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, mode in directories.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            tar.addfile(entry)
        home = tarfile.TarInfo("home/user")
        home.type, home.mode, home.uid, home.gid = tarfile.DIRTYPE, 0o755, 1000, 1001
        tar.addfile(home)
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644 if name.startswith("etc/") else 0o755
            tar.addfile(entry, io.BytesIO(content))
        for name in applets:
            if name != "busybox" and "/" not in name:
                entry = tarfile.TarInfo(f"bin/{name}")
                entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(entry)
    return packed.getvalue()


def _images(place: Path) -> Path:
    base = layer_of(box_tree())
    variables = ["PATH=/bin", "FROM_IMAGE=yes"]
    box = image(base, config={"Cmd": ["/bin/sh", "-c", "echo default"], "Env": variables})
    service = {
        "Entrypoint": ["/entry", "fixed"],
        "Cmd": ["default"],
        "User": "user",
        "WorkingDir": "/home/user",
        "Env": [*variables, "EMPTY="],
    }
    return write_layout(place / "layout", {"box": box, "svc": image(base, config=service)})


def _directory(path: Path) -> None:
    path.mkdir()
    path.chmod(0o777)
    (path / "note").write_text("of the host\n")
    (path / "b").mkdir()
    (path / "vars").write_text("# a comment\nA=1\nB=two words\n\nC=\nD\nFROM_HOST\n")
    (path / "badvars").write_text("A B=1\n")
