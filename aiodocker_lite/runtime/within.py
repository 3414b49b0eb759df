"""Read or write a tree as tar, from inside of its root, in a process of its own.

The process makes the root its own before it resolves any path: no link of an image, and nothing that
somebody in a running container changes meanwhile, leads out of it. What Python would import from then on
would be the image's (CVE-2019-14271), so it can import nothing any more, and asks nobody for names.
"""

from __future__ import annotations

import json
import os
import stat
import sys
import tarfile
from pathlib import Path

from aiodocker_lite import subids, syscalls
from aiodocker_lite.runtime.mounts import mount_root
from aiodocker_lite.runtime.pids import start_ticks
from aiodocker_lite.runtime.report import Failed

TYPE_CHECKING = False  # `typing` is slow to import
if TYPE_CHECKING:
    from typing import Any

_KILL = 9
_NO_NAMES = {"pwd": None, "grp": None}
_OF_KERNEL = ("proc", "sysfs", "cgroup", "cgroup2")
_SPECIAL = 0o6000


def main(text: str) -> None:
    """Do the job in this text, with a tar on standard input or output; an error goes to standard error, as JSON."""
    job = json.loads(text)
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, _KILL)
    syscalls.reset_signals()
    vars(tarfile).update(_NO_NAMES)
    try:
        root = job["root"] or {}
        of_kernel = _find_of_kernel(root.get("pid", "self"))
        if root:
            _enter(root)
        match job["do"]:
            case "look":
                print(json.dumps(_look(job["path"], of_kernel, follow=job["follow"])))  # noqa: T201 - this is how it answers
            case "read":
                _read(job["path"], job["name"], of_kernel)
            case _:
                changed = _write(
                    job["path"], keeps_owners=job["keeps_owners"], keeps_devices=job["keeps_devices"]
                )
                print(json.dumps(changed))  # noqa: T201 - as above
        sys.stdout.flush()
    except OSError as error:
        _fail(error.strerror or str(error))
    except Failed as failed:
        _fail(failed.facts.get("reason", failed.slug))
    except tarfile.TarError as error:
        _fail(f"it is no tar archive, or a damaged one ({error})")


def _fail(reason: str) -> None:
    os.write(2, json.dumps(reason).encode())
    os._exit(1)


# --- the way in ----------------------------------------------------------------------------


def _find_of_kernel(pid: int | str) -> set[int]:
    """The devices on which there are no files, though it looks so, by a process that sees them."""
    found = set()
    for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines():
        if line.partition(" - ")[2].split()[0] in _OF_KERNEL:
            major, minor = line.split()[2].split(":")
            found.add(os.makedev(int(major), int(minor)))
    return found


def _enter(root: dict[str, Any]) -> None:
    """Make this root ours: that of a process, an overlay that is mounted for us alone, or a directory."""
    if "pid" in root:
        place = _open_root_of(root["pid"], root["ticks"])
    else:
        _get_rights(root["maps"])
        if root.get("rootfs"):
            syscalls.unshare(syscalls.CLONE_NEWNS)
            place = mount_root(root["rootfs"])
        else:
            place = os.open(root["directory"], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    sys.path.clear()
    sys.meta_path.clear()
    os.fchdir(place)
    os.chroot(".")
    os.close(place)
    os.umask(0o022)


def _open_root_of(pid: int, ticks: int) -> int:
    users = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    if not os.path.samestat(os.fstat(users), Path("/proc/self/ns/user").stat()):
        syscalls.setns(users, syscalls.CLONE_NEWUSER)
        os.setgid(0)
        os.setuid(0)
    place = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    if start_ticks(pid) != ticks:
        raise ProcessLookupError(0, "the container has ended meanwhile")
    os.close(users)
    return place


def _get_rights(maps: subids.IdMaps | None) -> None:
    """Be root of a user namespace with these ids; None for who is root enough."""
    if maps is None:
        return
    uids, gids = maps
    if subids.count_of(uids) > 1:
        subids.enter((uids, gids))
        return
    syscalls.unshare(syscalls.CLONE_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")
    for name, rows in (("uid_map", uids), ("gid_map", gids)):
        Path(f"/proc/self/{name}").write_text("".join(f"{a} {b} {c}\n" for a, b, c in rows))


# --- what is done inside -------------------------------------------------------------------


def _look(path: str, of_kernel: set[int], *, follow: bool) -> dict[str, Any]:
    """What is there: "directory", "file", "device" or nothing, and the name by which it is known."""
    follows = follow or path.endswith(("/", "/."))
    try:
        found = os.stat(path) if follows else os.lstat(path)  # noqa: PTH116 - as the user wrote it
    except FileNotFoundError:
        return {"kind": None}
    real = os.path.realpath(path) if follow else path
    kind = _kind_of(found.st_mode)
    if found.st_dev in of_kernel:
        above = os.stat(os.path.dirname(path.removesuffix("/.").rstrip("/")) or "/")  # noqa: PTH116, PTH120 - as above
        if kind != "directory" or above.st_dev in of_kernel:
            raise FileNotFoundError(
                0, "could not find the file: the kernel shows it, and it is none of the container's"
            )
    return {"kind": kind, "real": real}


def _kind_of(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "directory"
    return "device" if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) else "file"


def _read(path: str, name: str, of_kernel: set[int]) -> None:
    with tarfile.open(mode="w|", fileobj=sys.stdout.buffer, format=tarfile.PAX_FORMAT) as archive:
        _add(archive, path, name, of_kernel)


def _add(archive: tarfile.TarFile, path: str, name: str, of_kernel: set[int]) -> None:
    """What the kernel shows in a directory is left out: it has no size, and can be without end."""
    archive.add(path, name, recursive=False)
    found = os.lstat(path)
    if stat.S_ISDIR(found.st_mode) and found.st_dev not in of_kernel:
        for entry in sorted(os.listdir(path)):  # noqa: PTH208 - as the user wrote it
            _add(archive, f"{path}/{entry}", f"{name}/{entry}", of_kernel)


def _write(path: str, *, keeps_owners: bool, keeps_devices: bool) -> list[str]:
    """Unpack below this directory; returns what did not become what it was."""
    os.chdir(path)
    changed = []
    with tarfile.open(mode="r|*", fileobj=sys.stdin.buffer) as archive:
        archive.extraction_filter = lambda member, _: member  # the root is the limit
        if not keeps_owners:
            vars(archive)["chown"] = lambda *_: None
        directories = []
        for member in archive:
            if (member.ischr() or member.isblk()) and not keeps_devices:
                changed.append(f"{member.name} is a device, and was left out")
                continue
            if member.mode & _SPECIAL and member.isreg() and not (keeps_devices or keeps_owners):
                changed.append(f"{member.name} is not setuid or setgid any more")
            if not (keeps_devices or keeps_owners):
                member.mode &= ~_SPECIAL  # whose rights it gives is not who wrote it
            _make_room(member)
            archive.extract(member, set_attrs=not member.isdir())
            if member.isdir():
                directories.append(member)
        # From the deepest on: what is read-only, or old, shall be so at the end.
        for member in reversed(directories):
            name = member.name.strip("/") or "."
            archive.chown(member, name, True)
            archive.chmod(member, name)
            archive.utime(member, name)
    while sys.stdin.buffer.read(1 << 16):  # padding
        pass
    return changed


def _make_room(member: tarfile.TarInfo) -> None:
    """A file takes the place of a file or a link, and a directory goes together with a directory."""
    name = member.name.strip("/")
    try:
        found = os.lstat(name or ".")
    except OSError:
        return
    is_directory = stat.S_ISDIR(found.st_mode)
    if is_directory and not member.isdir():
        raise IsADirectoryError(0, f"{name} is a directory, and cannot be replaced by a file")
    if not is_directory and member.isdir():
        raise NotADirectoryError(0, f"{name} is a file, and cannot be replaced by a directory")
    if not is_directory:
        os.unlink(name)  # noqa: PTH108 - never through it
