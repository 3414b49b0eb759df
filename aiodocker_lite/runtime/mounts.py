"""The mounts of a container, made from outside of it: its root, and what is mounted below.

Every mount is made attached to nothing, and then put on an open directory: no path is resolved
by the kernel that could be changed meanwhile, or that leads out of the root (X04, X05, X16).
"""

from __future__ import annotations

import errno
import os
import stat

from aiodocker_lite import syscalls
from aiodocker_lite.runtime import devices
from aiodocker_lite.runtime.inside import directory_inside, file_inside, open_real
from aiodocker_lite.runtime.report import Failed, reason_of, step

TYPE_CHECKING = False  # `typing` is slow to import
if TYPE_CHECKING:
    from typing import Any

_ATTRIBUTES = {
    "ro": syscalls.MOUNT_ATTR_RDONLY,
    "nosuid": syscalls.MOUNT_ATTR_NOSUID,
    "nodev": syscalls.MOUNT_ATTR_NODEV,
    "noexec": syscalls.MOUNT_ATTR_NOEXEC,
    "strictatime": 0x20,
}
_IMPLIED = frozenset(_ATTRIBUTES) | {"rw", "relatime", "bind", "rbind", "private", "rprivate"}
_NO_DEVICES = syscalls.MOUNT_ATTR_NODEV
"""A node in an image's layer is no way to the host's device: a container's are all in its own /dev (X04)."""
_REPLACED = ("/dev", "/proc", "/sys")
_FORBIDDEN = (errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENODEV, errno.EBUSY)


# --- the root ------------------------------------------------------------------------------


def mount_root(rootfs: dict[str, Any]) -> int:
    """Mount the root file system at its place in this mount namespace, and open it."""
    with step("cutting the mounts off from the host's"):
        # Slave first: what the host unmounts must go here too, and nothing goes the other way (X14).
        syscalls.mount(None, "/", None, syscalls.MS_REC | syscalls.MS_SLAVE)
    with step("mounting the root file system"):
        place = os.open(rootfs["root"], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        if rootfs["upper"] is None:
            tree = syscalls.open_tree(syscalls.AT_FDCWD, rootfs["root"], syscalls.OPEN_TREE_CLONE)
            syscalls.mount_setattr(tree, b"", syscalls.AT_EMPTY_PATH, _NO_DEVICES)
            syscalls.move_mount(tree, place)
        else:
            _give_upper(rootfs["upper"], rootfs["model"])
            mount_overlay(rootfs, place)
        return os.open(rootfs["root"], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def _give_upper(upper: str, model: str) -> None:
    """The owner of `/`, to whom it can only be given in here."""
    found, wanted = os.stat(upper), os.stat(model)  # noqa: PTH116 - pathlib is slow to import
    if (found.st_uid, found.st_gid) != (wanted.st_uid, wanted.st_gid):
        try:
            os.chown(upper, wanted.st_uid, wanted.st_gid)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EINVAL):
                raise


def mount_overlay(rootfs: dict[str, Any], place: int) -> None:
    """Mount an overlay on an open directory.

    Directories go by descriptor: their names may be long, or have a comma or a colon in them, and
    the one page that mount(2) has for its options is enough for some 200 layers.
    """
    held = [_open_path(path) for path in (rootfs["upper"], rootfs["work"], *reversed(rootfs["lowers"]))]
    upper, work, *lowers = (f"/proc/self/fd/{fd}" for fd in held)
    flags = ["userxattr"] if rootfs["userxattr"] else []
    try:
        context = _begin_overlay(lowers)
        if context is None:
            _mount_overlay_by_text(lowers, upper, work, flags, place)
            return
        held.append(context)
        for key, value in (("source", "overlay"), ("upperdir", upper), ("workdir", work), ("index", "off")):
            syscalls.fsconfig_string(context, key, value)
        for flag in flags:
            syscalls.fsconfig_flag(context, flag)
        syscalls.fsconfig_create(context)
        held.append(syscalls.fsmount(context, _NO_DEVICES))
        syscalls.move_mount(held[-1], place)
    finally:
        for fd in held:
            os.close(fd)


def _begin_overlay(lowers: list[str]) -> int | None:
    """Begin with the lower directories, the uppermost first, or return None on a kernel before 6.7."""
    context = -1
    try:
        context = syscalls.fsopen("overlay")
        for lower in lowers:
            syscalls.fsconfig_string(context, "lowerdir+", lower)
    except OSError as error:
        if context >= 0:
            os.close(context)
        if error.errno not in (errno.EINVAL, errno.ENOSYS):
            raise
        return None
    return context


def _mount_overlay_by_text(lowers: list[str], upper: str, work: str, flags: list[str], place: int) -> None:
    """The same with all lower directories in one string."""
    options = [f"lowerdir={':'.join(lowers)}", f"upperdir={upper}", f"workdir={work}", "index=off", *flags]
    data = ",".join(options)
    if len(data) >= os.sysconf("SC_PAGESIZE"):
        raise Failed("setup-failed", step="mounting the root file system", reason="it has too many layers")
    syscalls.mount("overlay", f"/proc/self/fd/{place}", "overlay", syscalls.MS_NODEV, data)


def _open_path(path: str) -> int:
    return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


# --- below the root ------------------------------------------------------------------------


def mount_all(root: int, mounts: list[dict[str, Any]]) -> None:
    """Make the mounts of a runtime spec in their order."""
    for mount in mounts:
        with step(f"mounting {mount['destination']}"):
            _mount(root, mount)


def _mount(root: int, mount: dict[str, Any]) -> None:
    target, kind, options = mount["destination"], mount["type"], mount["options"]
    match kind:
        case "bind":
            _bind(root, target, mount["source"], options)
        case "cgroup":
            _cgroup(root, target, options)
        case "sysfs":
            try:
                tree = _new(kind, options)
            except PermissionError:
                # A new one is only for who owns the network namespace; the host's has to do, read-only.
                tree = _bound("/sys", [*options, "ro"])
            syscalls.move_mount(tree, kernel_directory(root, target))
        case _:
            try:
                tree = _new(kind, options, name=mount["source"])
            except OSError as error:
                others = [option for option in options if not option.startswith("gid=")]
                if error.errno != errno.EINVAL or others == options:
                    raise
                # A group that this user namespace does not have: without one, it is the process's own.
                tree = _new(kind, others, name=mount["source"])
            syscalls.move_mount(tree, kernel_directory(root, target))
    if (target, kind) == ("/dev", "tmpfs"):
        devices.populate(directory_inside(root, target))


def kernel_directory(root: int, target: str) -> int:
    """Where a file system of the kernel goes: a link of the image is refused there (X05)."""
    if target not in _REPLACED:
        return directory_inside(root, target)
    try:
        found = open_real(root, target)
    except FileNotFoundError:
        os.mkdir(target[1:], 0o755, dir_fd=root)
        found = open_real(root, target)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        found = -1
    if found < 0 or not stat.S_ISDIR(os.fstat(found).st_mode):
        raise Failed("setup-failed", step=f"mounting {target}", reason="the image has no directory there")
    return found


def _new(kind: str, options: list[str], *settings: str, name: str = "") -> int:
    """A new file system of the kernel's, attached nowhere."""
    context = syscalls.fsopen(kind)
    try:
        syscalls.fsconfig_string(context, "source", name or kind)
        for option in (*settings, *(option for option in options if option not in _IMPLIED)):
            key, assigned, value = option.partition("=")
            if assigned:
                syscalls.fsconfig_string(context, key, value)
            else:
                syscalls.fsconfig_flag(context, key)
        syscalls.fsconfig_create(context)
        return syscalls.fsmount(context, _attributes(options))
    finally:
        os.close(context)


def mount_new(kind: str, options: list[str], path: str) -> None:
    """Mount a new file system of the kernel's at a path of this mount namespace's own root."""
    place = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    tree = _new(kind, options)
    syscalls.move_mount(tree, place)
    os.close(tree)
    os.close(place)


def _attributes(options: list[str]) -> int:
    return sum({_ATTRIBUTES[option] for option in options if option in _ATTRIBUTES})


def _bind(root: int, target: str, source: str, options: list[str]) -> None:
    try:
        tree = _bound(source, options)
    except FileNotFoundError:
        raise Failed(
            "setup-failed", step=f"mounting {target}", reason=f"the source {source} does not exist"
        ) from None
    is_directory = stat.S_ISDIR(os.fstat(tree).st_mode)
    mismatch: type[OSError] = NotADirectoryError if is_directory else IsADirectoryError
    try:
        syscalls.move_mount(tree, (directory_inside if is_directory else file_inside)(root, target))
    except mismatch:
        kinds = ("a directory", "a file") if is_directory else ("a file", "a directory")
        reason = f"the source {source} is {kinds[0]}, and in the image there is {kinds[1]}"
        raise Failed("setup-failed", step=f"mounting {target}", reason=reason) from None


def _bound(source: str, options: list[str]) -> int:
    """A copy of a mount of the host, with all below it."""
    tree = syscalls.open_tree(syscalls.AT_FDCWD, source, syscalls.OPEN_TREE_CLONE | syscalls.AT_RECURSIVE)
    if attributes := _attributes(options):
        syscalls.mount_setattr(tree, b"", syscalls.AT_EMPTY_PATH | syscalls.AT_RECURSIVE, attributes)
    return tree


def _cgroup(root: int, target: str, options: list[str]) -> None:
    """Show the container its own control groups, where that is possible; without, nothing is lost."""
    place = directory_inside(root, target)
    plain = [option for option in options if option in _IMPLIED]
    try:
        if os.path.exists("/sys/fs/cgroup/cgroup.controllers"):  # noqa: PTH110 - pathlib is slow to import
            syscalls.move_mount(_new("cgroup2", plain), place)
            return
        hierarchies = _hierarchies()
        syscalls.move_mount(_new("tmpfs", [o for o in plain if o != "ro"], "mode=755"), place)
        place = directory_inside(root, target)
        for controllers in hierarchies:
            name = controllers.removeprefix("name=")
            os.mkdir(name, 0o755, dir_fd=place)
            settings = [f"name={name}"] if name != controllers else controllers.split(",")
            tree = _new("cgroup", plain, *(["none"] if name != controllers else []), *settings)
            syscalls.move_mount(tree, os.open(name, os.O_PATH | os.O_CLOEXEC, dir_fd=place))
        syscalls.mount_setattr(place, b"", syscalls.AT_EMPTY_PATH, _attributes(plain))
    except OSError as error:
        if error.errno not in _FORBIDDEN:
            raise


def _hierarchies() -> list[str]:
    """Controllers of the hierarchies that this host has mounted, one entry for each."""
    with open("/proc/self/cgroup") as file:  # noqa: PTH123 - pathlib is slow to import
        fields = [line.rstrip("\n").split(":", 2) for line in file]
    return [controllers for _, controllers, _ in fields if controllers]


# --- hiding --------------------------------------------------------------------------------


def hide(root: int, masked: list[str], read_only: list[str]) -> None:
    """Put nothing over the masked paths, and make the read-only ones so; what is missing stays missing."""
    for path in masked:
        with step(f"hiding {path}"):
            _over(root, path, _nothing)
    for path in read_only:
        with step(f"making {path} read-only"):
            _over(root, path, _read_only)


def _over(root: int, path: str, cover: Any) -> None:
    try:
        found = open_real(root, path)
    except (FileNotFoundError, NotADirectoryError):
        return
    syscalls.move_mount(cover(found), found)
    os.close(found)


def _nothing(found: int) -> int:
    if stat.S_ISDIR(os.fstat(found).st_mode):
        return _new("tmpfs", ["ro", "nosuid", "nodev", "noexec"], "size=4k", "mode=755")
    # The host's device: the image has no say in what hides something (CVE-2025-31133).
    return devices.bound("null")


def _read_only(found: int) -> int:
    tree = syscalls.open_tree(
        found, b"", syscalls.OPEN_TREE_CLONE | syscalls.AT_RECURSIVE | syscalls.AT_EMPTY_PATH
    )
    syscalls.mount_setattr(
        tree, b"", syscalls.AT_EMPTY_PATH | syscalls.AT_RECURSIVE, syscalls.MOUNT_ATTR_RDONLY
    )
    return tree


# --- going in ------------------------------------------------------------------------------


def enter(root: int, *, read_only: bool) -> None:
    """Make the root this process's root, and let go of the host's file systems (X15)."""
    with step("changing the root directory"):
        os.fchdir(root)
        try:
            syscalls.pivot_root(".", ".")
        except OSError as error:
            hint = " (is the host's root a ramfs?)" if error.errno == errno.EINVAL else ""
            raise Failed(
                "setup-failed", step="changing the root directory", reason=reason_of(error) + hint
            ) from None
        # The old root lies on top of the new one now.
        syscalls.umount2(".", syscalls.MNT_DETACH)
        os.chdir("/")
        syscalls.mount(None, "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
        if read_only:
            here = os.open("/", os.O_PATH | os.O_CLOEXEC)
            syscalls.mount_setattr(here, b"", syscalls.AT_EMPTY_PATH, syscalls.MOUNT_ATTR_RDONLY)
