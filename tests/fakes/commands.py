"""The command line as a whole process, with a store and a home of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.fakes.processes import RealRegistry

Start = Callable[..., "subprocess.Popen[str]"]
"""Starts the command line with pipes, by default on the store that has `box`; it is killed with the test."""


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The first thing it said about itself."""
        said = (line for line in self.err.splitlines() if line.startswith("aiodocker-lite: "))
        return next(said, "").removeprefix("aiodocker-lite: ")


class Adl(Protocol):
    """Runs the command line to its end; never does a traceback come out."""

    def __call__(
        self, *words: str, stdin: bytes | int | None = None, env: Mapping[str, str] | None = None
    ) -> Done: ...


@dataclass(frozen=True)
class Names:
    """Images in the open registry."""

    registry: RealRegistry
    box: str
    """A shell and what goes with it, in two layers."""
    other: str
    """The same shell under one more layer."""
    multi: str
    """`box`, and an image for linux/arm64."""


def command(root: Path, *words: str) -> list[str]:
    """The words that a process is started with."""
    return [sys.executable, "-m", "aiodocker_lite", "--root", str(root), *words]


def environment(home: Path, **more: str) -> dict[str, str]:
    """Of the tests' own environment only what finds programs."""
    return {"PATH": os.environ["PATH"], "HOME": str(home), "XDG_RUNTIME_DIR": str(home / "run"), **more}


def run_command(
    argv: list[str], env: Mapping[str, str], stdin: bytes | int | None = None, **streams: int
) -> Done:
    """Run a command line to its end, and see that it never lost its manners."""
    content = stdin if isinstance(stdin, bytes) else None
    if content is None:
        streams["stdin"] = stdin if isinstance(stdin, int) else subprocess.DEVNULL
    done = subprocess.run(
        argv,
        input=content,
        env=env,
        timeout=50,
        check=False,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams},  # type: ignore[call-overload]
    )
    return polite(done.returncode, done.stdout or b"", done.stderr or b"")


def polite(code: int, out: bytes, err: bytes) -> Done:
    """What came out, which is never a traceback."""
    found = Done(code, out.decode(), err.decode())
    assert "Traceback" not in found.err, found.err
    assert "internal error" not in found.err, found.err
    return found


def run_with_few_files(limit: int, root: Path, modules: str, *words: str) -> Done:
    """Run a command that may have so few open files from when it has begun, with these modules of the command line imported.

    See that it says sentences alone.
    """
    code = (
        "import asyncio, resource, sys\n"
        f"from aiodocker_lite.cli import app, exits, session, {modules}\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, {limit}))\n"
        f"sys.argv = ['x', '--root', {str(root)!r}, *{words!r}]\n"
        "app.main()"
    )
    done = run_command([sys.executable, "-c", code], environment(root))
    assert all(line.startswith("aiodocker-lite: ") for line in done.err.splitlines()), done.err
    return done
