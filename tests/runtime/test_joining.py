"""One more process in a container that runs: in all that the first one is in, with no more rights."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aiodocker_lite.errors import CommandNotExecutable, CommandNotFound, EngineError, NoCommand, SetupFailed
from aiodocker_lite.options import ExecOptions, RunOptions
from tests.runtime.conftest import Caged
from tests.runtime.driver import Join, joinable, outcome

pytestmark = pytest.mark.anyio
SLEEP = ("/bin/sleep", "1000")
LOOK = """
for kind in mnt pid uts ipc net cgroup user; do readlink /proc/self/ns/$kind; done
cat /proc/self/cgroup; grep -E 'Cap|NoNewPrivs|Seccomp:|Groups' /proc/self/status; hostname; ulimit -a; umask
"""


async def said(join: Join, text: str, options: ExecOptions | None = None) -> list[str]:
    async with join(["/bin/sh", "-c", text], options) as process:
        found = await outcome(process)
    assert (found.code, found.err) == (0, "")
    return found.lines


async def test_it_is_where_the_first_one_is(layer: Path, tmp_path: Path, isolated: None) -> None:
    """Namespaces, control groups, rights, limits: all that can be looked at is the same."""
    text = f"({LOOK}) >/first; exec sleep 1000"
    async with joinable([layer], tmp_path / "c", ["/bin/sh", "-c", text]) as join:
        while True:
            first = await said(join, "cat /first")
            if first and first[-1].isdigit():
                break
        assert await said(join, LOOK) == first
        assert "sleep" in (await said(join, "cat /proc/1/comm"))[0]


async def test_its_own_options(layer: Path, tmp_path: Path, isolated: None) -> None:
    """User, directory, environment and a terminal, each as it is said, and else as the first one has it."""
    options = RunOptions(env={"A": "1", "B": "2"}, workdir="/tmp", user="bob")
    text = "echo $A $B $C $HOME $TERM $(id -u) $PWD"
    async with joinable([layer], tmp_path / "c", SLEEP, options=options) as join:
        assert await said(join, text) == ["1 2 /home/bob 1000 /tmp"]
        more = ExecOptions(env={"B": "3", "C": "4"}, workdir="/etc", user="0")
        assert await said(join, text, more) == ["1 3 4 /root 0 /etc"]
        async with join(["/bin/sh", "-c", "tty; echo $TERM; read x; echo got $x; exit 6"],
                        ExecOptions(terminal=True), size=(10, 20)) as process:  # fmt: skip
            found = await outcome(process, b"key\n")
        # The terminal repeats what is typed, whenever it comes.
        typed, answered = "key\r\n", found.out.replace("key\r\n", "", 1)
        assert (found.code, answered) == (6, f"/dev/pts/0\r\nxterm\r\ngot {typed}")


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        (["nothing"], CommandNotFound),
        (["/etc/passwd"], CommandNotExecutable),
        ([], NoCommand),
        ([""], NoCommand),
    ],
)
async def test_what_cannot_be_executed(
    layer: Path, tmp_path: Path, isolated: None, command: list[str], kind: type[EngineError]
) -> None:
    """The errors are those of a first command, and the container runs on."""
    async with joinable([layer], tmp_path / "c", SLEEP) as join:
        with pytest.raises(kind):
            async with join(command):
                pass
        assert await said(join, "echo on") == ["on"]


async def test_leaving_kills_it_and_the_end_of_the_container_too(
    layer: Path, tmp_path: Path, isolated: None
) -> None:
    """Nothing of it outlives either."""
    async with joinable([layer], tmp_path / "c", SLEEP) as join:
        async with join(SLEEP):
            assert len(await said(join, "pidof sleep | tr ' ' '\\n'")) == 2
        assert len(await said(join, "pidof sleep | tr ' ' '\\n'")) == 1
        async with join(SLEEP) as process:
            async with join(["/bin/sh", "-c", "kill -9 $(pidof sleep)"]) as killer:
                await outcome(killer)
            assert await process.wait() == 137


async def test_no_descriptor_of_ours_comes_along(layer: Path, tmp_path: Path, isolated: None) -> None:
    """Nor can the container look into the process that comes, before it is its own (X01, X03)."""
    held = os.open("/", os.O_RDONLY)
    os.set_inheritable(held, True)
    try:
        async with joinable([layer], tmp_path / "c", SLEEP) as join:
            assert await said(join, "ls /proc/self/fd") == ["0", "1", "2", "3"]
    finally:
        os.close(held)


async def test_a_container_that_has_ended(layer: Path, tmp_path: Path, isolated: None) -> None:
    """One sentence, whenever it ends."""
    async with joinable([layer], tmp_path / "c", ["/bin/true"]) as join:

        async def until_it_fails() -> None:
            while True:
                await said(join, "true")

        with pytest.raises(SetupFailed, match="joining the container"):
            await until_it_fails()


@pytest.mark.root
@pytest.mark.parametrize(
    "rights", ["ordinary-user", "ordinary-user:nobody:200000:65536", "root-of-little", "chroot", "nothing"]
)
def test_on_every_rung_it_works(caged: Caged, rights: str) -> None:
    """An ordinary user, with and without subordinate ids, and where there are no namespaces at all."""
    done = caged(rights, "/bin/sh", "-c", "ls ready; id -u", exec={"env": {"A": "1"}})
    assert (done.get("message"), done.get("err")) == (None, "")
    assert done["out"].split()[-1] == ("65534" if rights == "nothing" else "0")
