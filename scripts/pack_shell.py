"""A small image from this machine's own shell, for where no registry can be reached.

What goes in: /bin/sh, a few commands, and the shared libraries that they are linked with.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import subprocess
import tarfile
from pathlib import Path

_COMMANDS = ("sh", "cat", "echo", "env", "id", "ls", "sleep", "uname")
_PASSWD = b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"


def _needed(command: str) -> list[str]:
    """A command of this machine and the libraries that the loader would map for it."""
    path = next((p for d in ("/bin", "/usr/bin") if os.access(p := f"{d}/{command}", os.X_OK)), None)
    if path is None:
        return []
    linked = subprocess.run(["ldd", path], capture_output=True, text=True, check=False).stdout
    return [path, *re.findall(r"(/[^\s:]+) \(0x", linked)]


def _add(tar: tarfile.TarFile, name: str, content: bytes | None, mode: int) -> None:
    info = tarfile.TarInfo(name)
    info.mode = mode
    if content is None:
        info.type = tarfile.DIRTYPE
        tar.addfile(info)
    else:
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))


def _layer() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for directory, mode in (("tmp", 0o1777), ("root", 0o700), ("etc", 0o755), ("bin", 0o755)):
            _add(tar, directory, None, mode)
        _add(tar, "etc/passwd", _PASSWD, 0o644)
        for path in dict.fromkeys(path for command in _COMMANDS for path in _needed(command)):
            file = Path(path)
            name = f"bin/{file.name}" if file.parent.name == "bin" else path[1:]
            _add(tar, name, file.read_bytes(), 0o755)
    return out.getvalue()


def pack_shell(archive: Path, name: str) -> None:
    """Write the image to a file, as `docker save` would."""
    content = _layer()
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    config = json.dumps(
        {
            "architecture": machine,
            "os": "linux",
            "config": {"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(content).hexdigest()}"]},
        }
    ).encode()
    identity = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = json.dumps([{"Config": identity, "RepoTags": [name], "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(archive, "w") as tar:
        for member, data in ((identity, config), ("layer.tar", content), ("manifest.json", manifest)):
            _add(tar, member, data, 0o644)
