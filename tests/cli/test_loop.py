"""An event loop that cannot be had is a sentence, and not an abort."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.commands import command, environment, run_command, run_with_few_files
from tests.fakes.processes import program

LOOKS_UP = """
from aiodocker_lite.cli.loop import new_loop
loop = new_loop()
try:
    loop.run_until_complete(loop.getaddrinfo("localhost", 80))
except RuntimeError as error:
    print(error)
"""


def failing(call: str, *words: str) -> list[str]:
    """A command for which every call of this name fails."""
    return [program("strace"), "-f", "-qq", "-o", os.devnull, "-e", f"inject={call}", *words]


def test_a_loop_without_a_pipe_is_a_sentence(tmp_path: Path) -> None:
    """Libuv aborts there."""
    argv = failing("pipe2:error=EMFILE", *command(tmp_path / "store", "load", "-i", "any"))
    done = run_command(argv, environment(tmp_path))
    assert (done.code, done.err) == (
        1,
        "aiodocker-lite: the system does not permit what is needed here: Too many open files\n",
    )


def test_a_name_is_looked_up_without_threads_of_libuv(tmp_path: Path) -> None:
    """For libuv aborts where it cannot start them."""
    argv = failing("clone,clone3:error=EAGAIN", sys.executable, "-c", LOOKS_UP)
    done = subprocess.run(argv, env=environment(tmp_path), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "can't start new thread\n")


@pytest.mark.parametrize("limit", range(4, 20))
def test_a_loop_of_few_open_files_aborts_nowhere(tmp_path: Path, limit: int) -> None:
    """At whichever of its files they run out."""
    assert run_with_few_files(limit, tmp_path, "loop, pull", "load", "-i", "none").code == 1
