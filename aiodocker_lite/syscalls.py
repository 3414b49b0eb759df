"""The kernel calls that Python 3.11 lacks: one function per call, errno turned into OSError.

Numbers are from the kernel's `unistd.h`; calls above 423 have the same number everywhere.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long

# --- constants -----------------------------------------------------------------------------

AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_MOVE = 0x2000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MS_SLAVE = 0x80000
MS_STRICTATIME = 0x1000000
MNT_DETACH = 0x2

MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8

OPEN_TREE_CLONE = 0x1
MOVE_MOUNT_F_EMPTY_PATH = 0x4
MOVE_MOUNT_T_EMPTY_PATH = 0x40
FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_CMD_CREATE = 6
FSMOUNT_CLOEXEC = 0x1
FSOPEN_CLOEXEC = 0x1

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_SECUREBITS = 28
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4

SECCOMP_MODE_FILTER = 2

CAPABILITIES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)  # fmt: skip
"""In the order of their numbers (capabilities(7))."""

CLOSE_RANGE_CLOEXEC = 0x4
IN_MODIFY = 0x2
IN_MOVED_TO = 0x80
IN_DELETE = 0x200
KEYCTL_JOIN_SESSION_KEYRING = 1

_AGAIN = 1000
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_SYS_OPEN_TREE = 428
_SYS_MOVE_MOUNT = 429
_SYS_FSOPEN = 430
_SYS_FSCONFIG = 431
_SYS_FSMOUNT = 432
_SYS_CLOSE_RANGE = 436
_SYS_OPENAT2 = 437
_SYS_MOUNT_SETATTR = 442
_SYS_FCHMODAT2 = 452
_MACHINE = os.uname().machine
_GENERIC = _MACHINE in ("aarch64", "riscv64", "loongarch64")
_SYS_PIVOT_ROOT = 41 if _GENERIC else 155
_SYS_KEYCTL = 219 if _GENERIC else 250
_SYS_CAPGET = 90 if _GENERIC else 125
_SYS_CAPSET = 91 if _GENERIC else 126
_CAPABILITY_VERSION_3 = 0x20080522


def _checked(result: int, *about: object) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), *about)
    return result


def _bytes(path: str | bytes | os.PathLike[str] | None) -> bytes | None:
    return None if path is None else os.fsencode(path)


# --- memory --------------------------------------------------------------------------------


def keep_freed_memory() -> None:
    """Use the memory of large blocks again, which glibc gives back and gets again page by page; mallopt(3).

    For processes that handle one block of some MiB after the other: there it was a sixth of the time of inflating.
    """
    if (mallopt := getattr(_libc, "mallopt", None)) is not None:  # musl has none
        mallopt(_M_MMAP_THRESHOLD, 8 << 20)
        mallopt(_M_TRIM_THRESHOLD, 16 << 20)


# --- files ---------------------------------------------------------------------------------


def openat2(dir_fd: int, path: bytes, flags: int, *, resolve: int, mode: int = 0) -> int:
    """Open `path` below `dir_fd` under the given resolution rules (openat2(2), Linux 5.6).

    Raises BlockingIOError (EAGAIN) where renames, anywhere on this machine, came between every time
    that the kernel went up a "..": it asks to be called again, and here it is, but not for ever.
    """
    how = struct.pack("QQQ", flags | os.O_CLOEXEC, mode, resolve)
    left = _AGAIN
    while True:
        try:
            return _checked(_libc.syscall(_SYS_OPENAT2, dir_fd, path, how, ctypes.c_size_t(len(how))), path)
        except BlockingIOError:
            if not left:
                raise
            left -= 1


def chmod_at(dir_fd: int, name: bytes, mode: int) -> None:
    """Set the mode of `name` in a directory, and not of what a link leads to (fchmodat2(2)).

    Before Linux 6.6 there is no such call, and a link that is put there in this moment is followed.
    """
    try:
        _checked(_libc.syscall(_SYS_FCHMODAT2, dir_fd, name, mode, AT_SYMLINK_NOFOLLOW), name)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        os.chmod(name, mode, dir_fd=dir_fd)


def syncfs(fd: int) -> None:
    """Write everything of the file system that holds `fd` to the disk (syncfs(2))."""
    _checked(_libc.syncfs(fd))


def close_range(first: int, last: int, flags: int) -> None:
    """Close, or mark to be closed on exec, all descriptors from `first` to `last` (Linux 5.9)."""
    _checked(_libc.syscall(_SYS_CLOSE_RANGE, ctypes.c_uint(first), ctypes.c_uint(last), flags))


def inotify_init() -> int:
    """A descriptor that can be read when something that is watched has changed (inotify_init1(2))."""
    return _checked(_libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))


def inotify_add_watch(fd: int, path: str | os.PathLike[str], events: int) -> None:
    """Watch for these events at `path` (inotify_add_watch(2))."""
    _checked(_libc.inotify_add_watch(fd, _bytes(path), ctypes.c_uint32(events)), path)


# --- namespaces and mounts -----------------------------------------------------------------


def unshare(flags: int) -> None:
    """Leave the namespaces named by `flags` for new ones (unshare(2))."""
    _checked(_libc.unshare(flags))


def setns(fd: int, kind: int) -> None:
    """Enter the namespace that `fd` refers to (setns(2))."""
    _checked(_libc.setns(fd, kind))


def mount(
    source: str | bytes | None,
    target: str | bytes,
    kind: str | None,
    flags: int = 0,
    data: str | bytes | None = None,
) -> None:
    """Mount, bind, or change a mount (mount(2)); `data` must fit in one page."""
    result = _libc.mount(_bytes(source), _bytes(target), _bytes(kind), ctypes.c_ulong(flags), _bytes(data))
    _checked(result, target)


def umount2(target: str | bytes, flags: int) -> None:
    """Unmount (umount2(2))."""
    _checked(_libc.umount2(_bytes(target), flags), target)


def pivot_root(new_root: str, put_old: str) -> None:
    """Make `new_root` the root, and the old one reachable at `put_old` (pivot_root(2))."""
    _checked(_libc.syscall(_SYS_PIVOT_ROOT, _bytes(new_root), _bytes(put_old)), new_root)


def fsopen(kind: str) -> int:
    """Begin to set up a file system of this type (fsopen(2), Linux 5.2)."""
    return _checked(_libc.syscall(_SYS_FSOPEN, _bytes(kind), FSOPEN_CLOEXEC), kind)


def fsconfig_string(fd: int, key: str, value: str | bytes) -> None:
    """Give one option to a file system that is being set up; each may be up to 255 bytes."""
    _checked(_libc.syscall(_SYS_FSCONFIG, fd, FSCONFIG_SET_STRING, _bytes(key), _bytes(value), 0), key)


def fsconfig_flag(fd: int, key: str) -> None:
    """Give one option that has no value."""
    _checked(_libc.syscall(_SYS_FSCONFIG, fd, FSCONFIG_SET_FLAG, _bytes(key), None, 0), key)


def fsconfig_create(fd: int) -> None:
    """The options are complete: make the file system."""
    _checked(_libc.syscall(_SYS_FSCONFIG, fd, FSCONFIG_CMD_CREATE, None, None, 0))


def fsmount(fd: int, attributes: int) -> int:
    """A mount of what `fsopen` set up, attached nowhere yet."""
    return _checked(_libc.syscall(_SYS_FSMOUNT, fd, FSMOUNT_CLOEXEC, attributes))


def open_tree(dir_fd: int, path: str | bytes, flags: int) -> int:
    """A mount, or with OPEN_TREE_CLONE a copy of one that is attached nowhere (Linux 5.2)."""
    return _checked(_libc.syscall(_SYS_OPEN_TREE, dir_fd, _bytes(path), flags | os.O_CLOEXEC), path)


def move_mount(source: int, target_fd: int, target: str | bytes = b"") -> None:
    """Attach the mount `source` at `target`, or on `target_fd` itself where that is empty."""
    flags = MOVE_MOUNT_F_EMPTY_PATH | (0 if target else MOVE_MOUNT_T_EMPTY_PATH)
    _checked(_libc.syscall(_SYS_MOVE_MOUNT, source, b"", target_fd, _bytes(target), flags), target)


def mount_setattr(fd: int, path: str | bytes, flags: int, set_: int, clear: int = 0) -> None:
    """Change the attributes of a mount (mount_setattr(2), Linux 5.12)."""
    attributes = struct.pack("QQQQ", set_, clear, 0, 0)
    size = ctypes.c_size_t(len(attributes))
    _checked(_libc.syscall(_SYS_MOUNT_SETATTR, fd, _bytes(path), flags, attributes, size), path)


# --- rights --------------------------------------------------------------------------------


def prctl(option: int, *arguments: int) -> int:
    """Change something about this process (prctl(2))."""
    words = [ctypes.c_ulong(a) for a in (*arguments, 0, 0, 0, 0)[:4]]
    return _checked(_libc.prctl(option, *words))


def trace_me() -> None:
    """Have this process stopped when it executes a program, for its parent to decide (ptrace(2))."""
    _checked(_libc.ptrace(0, 0, None, None))


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """Set this thread's capabilities, each a mask of 64 bits (capset(2))."""
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    low, high = 0xFFFFFFFF, 32
    data = struct.pack(
        "IIIIII",
        effective & low, permitted & low, inheritable & low,
        effective >> high, permitted >> high, inheritable >> high,
    )  # fmt: skip
    _checked(_libc.syscall(_SYS_CAPSET, header, data))


def capget() -> tuple[int, int, int]:
    """This thread's effective, permitted and inheritable capabilities (capget(2))."""
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    data = ctypes.create_string_buffer(24)
    _checked(_libc.syscall(_SYS_CAPGET, header, data))
    e0, p0, i0, e1, p1, i1 = struct.unpack("IIIIII", data.raw)
    return e0 | e1 << 32, p0 | p1 << 32, i0 | i1 << 32


def join_new_keyring() -> None:
    """Leave the caller's session keyring for a new one without a name (keyctl(2))."""
    _checked(_libc.syscall(_SYS_KEYCTL, KEYCTL_JOIN_SESSION_KEYRING, None))


def load_filter(program: bytes) -> None:
    """Have the kernel ask this BPF program about every system call from now on (seccomp(2))."""
    instructions = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(instructions))
    where = ctypes.create_string_buffer(header, len(header))
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(where))


def get_limit(resource: int) -> tuple[int, int]:
    """The soft and the hard limit of this process (getrlimit(2)); 2**64 - 1 is no limit."""
    found = ctypes.create_string_buffer(16)
    _checked(_libc.getrlimit(resource, found))
    soft, hard = struct.unpack("QQ", found.raw)
    return soft, hard


def set_limit(resource: int, soft: int, hard: int) -> None:
    """Limit this process (setrlimit(2)); 2**64 - 1 is no limit."""
    _checked(_libc.setrlimit(resource, struct.pack("QQ", soft, hard)))


def sethostname(name: bytes) -> None:
    """Name this UTS namespace (sethostname(2))."""
    _checked(_libc.sethostname(name, ctypes.c_size_t(len(name))))


def setdomainname(name: bytes) -> None:
    """Give this UTS namespace a NIS domain (setdomainname(2))."""
    _checked(_libc.setdomainname(name, ctypes.c_size_t(len(name))))


def blocked_signals() -> int:
    """Block all signals; a descriptor from which they can be read, 128 bytes and the number first (signalfd(2))."""
    everything = b"\xff" * 128
    _libc.pthread_sigmask(0, everything, None)  # SIG_BLOCK
    return _checked(_libc.signalfd(-1, everything, os.O_CLOEXEC))


def reset_signals() -> None:
    """Default action for every signal, none blocked: Python ignores SIGPIPE, a caller may ignore more."""
    for number in range(1, 65):
        _libc.signal(number, None)  # SIG_DFL; KILL and STOP are refused, as they may be
    nothing = ctypes.create_string_buffer(128)
    _libc.pthread_sigmask(2, nothing, None)  # SIG_SETMASK
