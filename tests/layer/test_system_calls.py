"""What the kernel is really asked, while the whole table of hostile layers is unpacked: seen by strace."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.processes import program

BEGIN, END = "/the/layers/begin", "/the/layers/end"
# Every layer by paths alone, first as a lowest layer and then on one that is full of links.
UNPACK = f"""
import os, sys
from contextlib import suppress
from pathlib import Path
from aiodocker_lite.errors import EngineError
from aiodocker_lite.inflate import load_decoders
from aiodocker_lite.layer.decompress import plain_blocks
from aiodocker_lite.layer.rules import UnpackRules
from tests.cases.hostile_layers import hostile_layers
from tests.fakes.layers import unpack_opened
load_decoders()
"x".encode("unicode_escape")
os.umask(0)
base = Path(sys.argv[1])
for number, case in enumerate(hostile_layers()):
    if case.name.startswith("bomb/"):
        continue
    content = case.pack(b"/outside")
    places = [base / f"{{number}}", base / f"{{number}}.joint"]
    for place in places:
        place.mkdir()
    flags = os.O_RDONLY | os.O_DIRECTORY
    fds = [os.open(place, flags) for place in (*places, base / "lower")]
    os.access({BEGIN!r}, os.F_OK)
    with suppress(EngineError):
        unpack_opened(plain_blocks(iter([content]), "abc"), *fds, rules=UnpackRules(os.geteuid() == 0, case.limits))
    os.access({END!r}, os.F_OK)
    for fd in fds:
        os.close(fd)
print("done")
"""
CALL = re.compile(r"^(?:\d+ +)?(\w+)\((.*)\) += ")
PATH = re.compile(r'"((?:[^"\\]|\\.)*)"')
# What comes second is content and no path.
ONE_PATH = {
    "symlink",
    "symlinkat",
    "setxattr",
    "lsetxattr",
    "getxattr",
    "lgetxattr",
    "listxattr",
    "llistxattr",
}


@pytest.mark.timeout(180)
def test_no_path_is_ever_resolved_outside_of_the_root(tmp_path: Path) -> None:
    """One name in an open directory at a time; or openat2 that takes the layer's directory for `/`."""
    lower = tmp_path / "lower"
    lower.mkdir()
    for name in ("a", "d", "l", "w", "usr"):
        (lower / name).symlink_to(tmp_path)
    log = tmp_path / "strace"
    command = [
        program("strace"),
        "-f",
        "-e",
        "trace=%file,getdents64,chdir,fchdir",
        "-s",
        "9000",
        "-o",
        str(log),
    ]
    done = subprocess.run(
        [*command, sys.executable, "-c", UNPACK, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert done.stdout == "done\n"
    looked_at, wrong = 0, []
    inside = False
    for line in log.read_text(errors="replace").splitlines():
        found = CALL.match(line)
        if found is None:
            continue
        call, arguments = found.groups()
        if call == "access" and (BEGIN in arguments or END in arguments):
            inside = BEGIN in arguments
            continue
        if not inside:
            continue
        looked_at += 1
        paths = PATH.findall(arguments)
        if call in ONE_PATH:
            paths = paths[-1:] if call.startswith("symlink") else paths[:1]
        if call == "readlinkat":
            paths = paths[:1]
        if call == "openat2":
            is_safe = "RESOLVE_IN_ROOT" in arguments and not arguments.startswith("AT_FDCWD")
        elif paths == [".."] and call == "openat":
            # A removal goes up so, for it may be deeper than there are descriptors; it then compares inodes.
            is_safe = "O_NOFOLLOW" in arguments
        else:
            is_safe = all("/" not in path and path != ".." for path in paths)
        if not is_safe:
            wrong.append(line)
    assert wrong == []
    assert looked_at > 5000


def test_a_path_outside_would_be_seen(tmp_path: Path) -> None:
    """The patterns read what strace writes."""
    log = tmp_path / "strace"
    command = [program("strace"), "-f", "-e", "trace=%file", "-o", str(log), sys.executable, "-c"]
    subprocess.run([*command, f"import os; os.symlink('a', {os.fspath(tmp_path / 'x')!r})"], check=True)
    calls = [match.groups() for match in map(CALL.match, log.read_text().splitlines()) if match]
    assert [PATH.findall(arguments) for call, arguments in calls if call == "symlink"] == [
        ["a", str(tmp_path / "x")]
    ]
