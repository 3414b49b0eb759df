"""The last steps: the working directory, the environment, and the command itself."""

from __future__ import annotations

import errno
import os
import stat

from aiodocker_lite import syscalls
from aiodocker_lite.runtime.inside import directory_inside, open_inside
from aiodocker_lite.runtime.report import Failed, step

TYPE_CHECKING = False  # `typing` is slow to import
if TYPE_CHECKING:
    from typing import NoReturn

_MISSING = (errno.ENOENT, errno.ENOTDIR)
_UNUSABLE = (
    errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOEXEC, errno.E2BIG, errno.ELOOP, errno.ETXTBSY, errno.EINVAL,
    errno.ELIBBAD, errno.ENAMETOOLONG,
)  # fmt: skip


def need_directory(root: int, path: str, command: str) -> None:
    """For one more command nobody makes its working directory. Raises Failed, as if that could not be executed."""
    try:
        os.close(open_inside(root, path, os.O_PATH | os.O_DIRECTORY))
    except OSError as error:
        reason = f'chdir to cwd ("{path}"): {os.strerror(error.errno or 0).lower()}'
        raise Failed("command-not-executable", command=command, reason=reason) from error


def go_to(root: int, path: str) -> None:
    """Make the working directory if it is missing, go there, and make sure that it is inside (X02)."""
    with step(f"entering the working directory {path}"):
        # No magic link is followed: /proc/self/fd/N would lead to wherever N is open.
        os.fchdir(directory_inside(root, path))
        os.getcwd()  # noqa: PTH109 - pathlib is slow to import; fails if no way from the root leads here


def environment_of(entries: list[str], home: str) -> dict[str, str]:
    """The environment of the spec, with HOME from the image's passwd unless it is set."""
    found = dict(entry.split("=", 1) for entry in entries if "=" in entry)
    found.setdefault("HOME", home)
    return found


def execute(files: list[str], arguments: list[str], environment: dict[str, str]) -> NoReturn:
    """Become the first of these files that can be executed.

    Raises Failed: not found, or found and not executable.
    """
    refused: OSError | None = None
    for file in files:
        try:
            os.execve(file, arguments, environment)
        except OSError as error:
            if error.errno in _UNUSABLE:
                refused = refused or error
            elif error.errno not in _MISSING:
                raise
    if refused is None:
        reason = "executable file not found in the image"
        if any(os.path.exists(file) for file in files):  # noqa: PTH110 - pathlib is slow to import
            reason = "the interpreter or loader that it names is not in the image"
        raise Failed("command-not-found", command=arguments[0], reason=reason)
    raise Failed("command-not-executable", command=arguments[0], reason=_why(refused))


def candidates(name: str, path: str) -> list[str]:
    """Where a command may be; relative parts of a PATH are passed over, as docker does."""
    if not name:  # and not the directory itself
        return []
    if "/" in name:
        return [name]
    return [f"{directory.rstrip('/')}/{name}" for directory in path.split(":") if directory.startswith("/")]


def _why(error: OSError) -> str:
    if error.errno == errno.ENOEXEC:
        return "exec format error"
    try:
        if stat.S_ISDIR(os.stat(error.filename).st_mode):  # noqa: PTH116 - pathlib is slow to import
            return "is a directory"
    except OSError:
        pass
    return os.strerror(error.errno or 0).lower()


def close_on_execute() -> None:
    """Nothing that is open here stays open in the container but the standard streams (X02, X03)."""
    with step("closing descriptors"):
        syscalls.close_range(3, 2**32 - 1, syscalls.CLOSE_RANGE_CLOEXEC)
