"""Execute a container's command and stop it before its first instruction: whether it can be, the kernel says.

Other runtimes say why a command cannot start in words of their own, on the container's standard error, and with
an exit code that a command may have too. Here it fails as it would without them.
"""

from __future__ import annotations

import marshal
import os

from aiodocker_lite import syscalls
from aiodocker_lite.runtime import command, identity
from aiodocker_lite.runtime.report import Failed

TYPE_CHECKING = False  # `typing` is slow to import
if TYPE_CHECKING:
    from typing import Any

_KILL = 9


def rehearse(root: int, process: dict[str, Any], user: dict[str, Any], cwd: str) -> None:
    """Raises Failed, as the native runtime would. Where nobody may trace, nothing is found out."""
    answer, tell = os.pipe()
    child = os.fork()
    if child == 0:
        _play(root, process, user, cwd, tell)
    os.close(tell)
    with open(answer, "rb") as file:  # noqa: PTH123 - the kernel closes the other end when it executes
        said = file.read()
    _, status = os.waitpid(child, os.WUNTRACED)
    if os.WIFSTOPPED(status):
        os.kill(child, _KILL)
        os.waitpid(child, 0)
    if said:
        slug, facts = marshal.loads(said)
        raise Failed(slug, **facts)


def _play(root: int, process: dict[str, Any], user: dict[str, Any], cwd: str, tell: int) -> None:
    try:
        permitted, keeps_groups = identity.held(), identity.keeps_groups()
        syscalls.trace_me()
        os.fchdir(root)
        os.chroot(".")
        os.chdir(cwd)
        environment = command.environment_of(process["env"], user["home"])
        files = command.candidates(process["args"][0], environment.get("PATH", ""))
        identity.give_up_rights(user, process, b"", permitted=permitted, keeps_groups=keeps_groups)
        command.close_on_execute()
        command.execute(files, process["args"], environment)
    except Failed as failed:
        os.write(tell, marshal.dumps((failed.slug, failed.facts)))
    except OSError:  # the runtime will say what it is
        pass
    finally:
        os._exit(0)
