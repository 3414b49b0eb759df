"""The bare Python that becomes a container."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aiodocker_lite.runtime import interpreter
from aiodocker_lite.runtime.interpreter import Interpreter, guarded_interpreter, plain_interpreter

PROBE = (
    "import os; print(sorted(sys.modules), sorted(os.environ), sys.argv[1:], os.readlink('/proc/self/exe'))"
)
SLOW = {
    "json",
    "re",
    "typing",
    "enum",
    "collections",
    "pathlib",
    "socket",
    "subprocess",
    "asyncio",
    "dataclasses",
}


def output(python: Interpreter, code: str, *arguments: str) -> str:
    fds = [python.fd] if python.fd >= 0 else []
    return subprocess.check_output(
        python.command(code, *arguments), env=python.environment, pass_fds=fds, text=True
    )


def test_it_has_nothing_of_the_callers_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not its variables, and not its site-packages."""
    monkeypatch.setenv("SECRET", "leaks")
    monkeypatch.setenv("PYTHONSTARTUP", "/nowhere")
    out = output(plain_interpreter(), PROBE, "a", "b")
    assert "SECRET" not in out
    assert "['a', 'b']" in out
    assert "'site'" not in out


def test_the_first_process_of_a_container_imports_little() -> None:
    """Each of these modules would cost more than all mounts of a container."""
    out = output(plain_interpreter(), "import aiodocker_lite.runtime.init; print(*sys.modules, sep='\\n')")
    assert not SLOW & set(out.split())
    assert "aiodocker_lite.errors" not in out


def test_a_writable_interpreter_is_started_from_a_file_that_nobody_can_write() -> None:
    """From a mount or a copy; it still is a whole Python."""
    with guarded_interpreter() as python:
        if python.fd < 0:
            pytest.skip("this user could not change the interpreter anyway")
        attempt = (
            "import os, json\ntry: os.chmod('/proc/self/exe', 0o777)\nexcept OSError as e: print(e.errno)"
        )
        assert output(python, attempt) == "30\n"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(python.fd)


def test_a_sealed_copy_does_as_well(tmp_path: Path) -> None:
    """Where no mount can be made: a file in memory that cannot be written any more."""
    fd = interpreter._sealed_copy(os.path.realpath(sys.executable))
    try:
        python = Interpreter(f"/proc/self/fd/{fd}", fd)
        attempt = "\ntry: open('/proc/self/exe', 'r+b')\nexcept OSError as error: print(error.errno)"
        assert output(python, attempt) == "26\n"  # ETXTBSY
        with pytest.raises(PermissionError):
            Path(f"/proc/self/fd/{fd}").write_bytes(b"x")
    finally:
        os.close(fd)
