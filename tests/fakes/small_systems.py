"""Images made of this machine's own programs, in a second: a shell, a redis and a Python, with what they load."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterator
from pathlib import Path

from aiodocker_lite.testing.images import image, layer_of, write_layout
from tests.cases.run_plays import box_tree
from tests.fakes.processes import program

_REDIS = 101
_PASSWD = f"root:x:0:0:root:/root:/bin/sh\nredis:x:{_REDIS}:{_REDIS}::/var/lib/redis:/bin/sh\n"
_GROUP = f"root:x:0:\nredis:x:{_REDIS}:\n"
_NOT_NEEDED = re.compile(
    r"test|tests|__pycache__|(site|dist)-packages|idlelib|lib2to3|ensurepip|tkinter|config-.*"
)


def services_from_here(work: Path, name: str) -> Path:
    """An OCI layout of one image of this name, in which a redis and a web server in Python can be run."""
    # Debian's package of clients has the server too: it is one program, by whose name it knows what it shall be.
    redis, python = Path(program("redis-check-rdb")), Path(sys.executable).resolve()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path, text in (("etc/passwd", _PASSWD), ("etc/group", _GROUP), ("etc/debian_version", "here\n")):
            _add(tar, path, text.encode())
        _add(tar, "bin/redis-server", redis.read_bytes(), 0o755)
        _add(tar, str(python), python.read_bytes(), 0o755)
        link = tarfile.TarInfo("bin/python3")
        link.type, link.linkname = tarfile.SYMTYPE, str(python)
        tar.addfile(link)
        home = tarfile.TarInfo("var/lib/redis")
        home.type, home.mode, home.uid, home.gid = tarfile.DIRTYPE, 0o750, _REDIS, _REDIS
        tar.addfile(home)
        modules = list(_modules(Path(sysconfig.get_path("stdlib"))))
        loaded = [redis, python, *(module for module in modules if module.suffix == ".so")]
        for file in (*_libraries(loaded), *modules):
            _add(tar, str(file), file.read_bytes(), 0o755)
    made = image(layer_of(box_tree()), layer_of(packed.getvalue(), "plain"), config={"Env": ["PATH=/bin"]})
    return write_layout(work / "layout", {name: made})


def _add(tar: tarfile.TarFile, path: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(path.lstrip("/"))
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))


def _libraries(programs: list[Path]) -> list[Path]:
    said = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=True).stdout
    return [Path(found) for found in sorted(set(re.findall(r"(/\S+) \(0x", said)))]


def _modules(stdlib: Path) -> Iterator[Path]:
    for directory, names, files in os.walk(stdlib):
        names[:] = [name for name in names if not _NOT_NEEDED.fullmatch(name)]
        yield from (Path(directory, name) for name in files)
