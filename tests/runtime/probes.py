"""Attempts to get out of a container, made by a program inside of it.

Each function is one, named after what it tries, and returns whether it was held. The program tries
each in a process of its own and prints the outcomes as JSON.
"""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import resource
import signal
import socket
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
PROBES: dict[str, Callable[[], bool]] = {}
IS_X86 = os.uname().machine == "x86_64"
CLONE_NEWUSER = 0x10000000


def probe(function: Callable[[], bool]) -> Callable[[], bool]:
    PROBES[function.__name__] = function
    return function


def call(number: int, *arguments: int) -> int:
    """The error of a raw system call, or 0 if it was made."""
    words = [ctypes.c_ulong(argument & 2**64 - 1) for argument in (*arguments, 0, 0, 0, 0, 0, 0)[:6]]
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *words)
    if number in (56, 435) and result == 0:
        os._exit(0)
    return ctypes.get_errno() if result < 0 else 0


def is_forbidden(number: int, *arguments: int) -> bool:
    return call(number, *arguments) == errno.EPERM


def cannot(deed: Callable[[], object], *numbers: int) -> bool:
    try:
        deed()
    except OSError as error:
        return not numbers or error.errno in numbers
    return False


# Number on x86-64, what it would be called with. None of these gets as far as to look at its arguments.
_CALLS: dict[str, tuple[int, tuple[int, ...]]] = {
    "mount": (165, ()),
    "umount2": (166, ()),
    "pivot_root": (155, ()),
    "unshare_a_user_namespace": (272, (CLONE_NEWUSER,)),
    "unshare_nothing": (272, (0,)),
    "setns": (308, (0, 0)),
    "clone_a_user_namespace": (56, (CLONE_NEWUSER | 17,)),
    "fsopen": (430, ()),
    "fsmount": (432, ()),
    "open_tree": (428, ()),
    "move_mount": (429, ()),
    "mount_setattr": (442, ()),
    "keyctl": (250, (0, 2**32 - 3, 0)),
    "add_key": (248, ()),
    "request_key": (249, ()),
    "bpf": (321, ()),
    "ptrace": (101, (0,)),
    "process_vm_readv": (310, (1,)),
    "pidfd_getfd": (438, ()),
    "kcmp": (312, (1, 1)),
    "perf_event_open": (298, ()),
    "userfaultfd": (323, (0,)),
    "io_uring_setup": (425, (1,)),
    "open_by_handle_at": (304, ()),
    "init_module": (175, ()),
    "finit_module": (313, ()),
    "delete_module": (176, ()),
    "kexec_load": (246, ()),
    "kexec_file_load": (320, ()),
    "reboot": (169, ()),
    "swapon": (167, ()),
    "acct": (163, ()),
    "quotactl": (179, ()),
    "settimeofday": (164, ()),
    "clock_settime": (227, ()),
    "sethostname": (170, ()),
    "iopl": (172, (3,)),
    "ioperm": (173, (0, 1, 1)),
    "syslog": (103, (10,)),
    "vhangup": (153, ()),
    "fanotify_init": (300, ()),
    "lookup_dcookie": (212, ()),
    "mbind": (237, ()),
    "personality_without_randomization": (135, (0x0040000,)),
    "vsock": (41, (40, 1, 0)),
}
if IS_X86:
    for _name, (_number, _arguments) in _CALLS.items():
        PROBES[f"call_{_name}"] = partial(is_forbidden, _number, *_arguments)

    @probe
    def call_a_call_of_x32() -> bool:
        # Where the kernel has x32 or not: it must not be asked. libseccomp kills for what it was not told of.
        child = os.fork()
        if child == 0:
            os._exit(call(0x40000000 + 39))
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return ended in (errno.EPERM, -signal.SIGSYS)

    @probe
    def call_a_call_that_is_newer_than_the_list() -> bool:
        # set_mempolicy_home_node, lsm_*, open_tree_attr, file_*attr, what will come, and x32's without their mark.
        numbers = (450, 459, 460, 461, *range(467, 548), 1000)
        return all(call(number) in (errno.EPERM, errno.ENOSYS) for number in numbers)

    @probe
    def clone3_is_not_there() -> bool:
        return call(435, 0, 0) == errno.ENOSYS

    @probe
    def a_call_of_32_bits() -> bool:
        # push rbx; mov eax, 288 (keyctl); xor ebx, ebx; mov ecx, -3; xor edx, edx; int 0x80; pop rbx; ret
        code = bytes.fromhex("53b82001000031dbb9fdffffff31d2cd805bc3")
        memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        memory.write(code)
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        return int(ctypes.CFUNCTYPE(ctypes.c_int)(address)()) == -errno.EPERM


@probe
def write_a_switch_of_the_kernel() -> bool:
    paths = (
        "/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/sys/kernel/uevent_helper",
        "/sys/kernel/mm/transparent_hugepage/enabled", "/proc/irq/default_smp_affinity",
    )  # fmt: skip
    return all(cannot(partial(Path(path).write_text, "")) for path in paths)


@probe
def read_what_tells_about_the_host() -> bool:
    paths = ("/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug", "/proc/interrupts")
    return all(Path(path).read_bytes() == b"" for path in paths if Path(path).exists())


@probe
def list_what_tells_about_the_host() -> bool:
    paths = ("/sys/firmware", "/sys/devices/virtual/powercap", "/proc/acpi", "/proc/scsi", "/proc/asound")
    return not any(any(Path(path).iterdir()) for path in paths if Path(path).is_dir())


@probe
def become_a_release_agent() -> bool:
    found = [
        *Path("/sys/fs/cgroup").glob("*/release_agent"),
        *Path("/sys/fs/cgroup").glob("*/notify_on_release"),
    ]
    return all(cannot(partial(file.write_text, "1")) for file in found)


@probe
def make_a_control_group() -> bool:
    places = [path for path in (Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").glob("*")) if path.is_dir()]
    return all(cannot((place / "mine").mkdir) for place in places)


@probe
def make_a_disk_of_the_host() -> bool:
    for name in ("/dev/disk", "/tmp/disk"):
        try:
            os.mknod(name, stat.S_IFBLK | 0o666, os.makedev(254, 0))
        except OSError:
            continue
        if not cannot(partial(os.open, name, os.O_RDONLY)):
            return False
    return True


@probe
def open_a_disk_that_the_image_has() -> bool:
    """Of an image that root has unpacked; for others it has none."""
    node = Path("/devices/disk")
    return not node.exists() or cannot(lambda: os.open(node, os.O_RDONLY), errno.EACCES)


@probe
def open_a_device_that_the_image_has() -> bool:
    """Even one that would be harmless in /dev."""
    node = Path("/devices/full")
    return not node.exists() or cannot(lambda: os.open(node, os.O_RDONLY), errno.EACCES)


@probe
def find_devices_of_the_host() -> bool:
    return not any(
        Path(f"/dev/{name}").exists() for name in ("mem", "kmsg", "port", "vda", "sda", "loop0", "fuse")
    )


@probe
def leave_a_chroot() -> bool:
    Path("/tmp/inner").mkdir()
    outside = os.open("/", os.O_RDONLY)
    try:
        os.chroot("/tmp/inner")
        os.fchdir(outside)
        for _ in range(64):
            os.chdir("..")
        os.chroot(".")
    except PermissionError:
        return True
    return Path("/probes.py").exists()


@probe
def see_the_hosts_root_through_proc() -> bool:
    return Path("/proc/1/root/probes.py").exists() and not Path("/proc/1/root/canary").exists()


@probe
def find_an_open_descriptor_of_the_host() -> bool:
    found = set()
    for fd in Path("/proc/1/fd").iterdir():
        with suppress(FileNotFoundError):  # the one that this list is read with
            found.add(str(fd.readlink()).partition(":")[0])
    return found <= {"/dev/null", "pipe"}


@probe
def go_where_a_descriptor_leads() -> bool:
    # What a descriptor that was forgotten would lead to (CVE-2024-21626).
    for number in range(3, 64):
        try:
            os.chdir(f"/proc/1/fd/{number}")
        except OSError:
            continue
        return False
    return True


@probe
def read_the_callers_environment() -> bool:
    return b"SECRET" not in b"".join(Path(p, "environ").read_bytes() for p in ("/proc/1", "/proc/self"))


@probe
def see_processes_of_the_host() -> bool:
    return len(list(Path("/proc").glob("[0-9]*"))) <= 3


@probe
def kill_a_process_of_the_host() -> bool:
    outside = int(os.environ["OUTSIDE"])
    return cannot(lambda: os.kill(outside, 0), errno.ESRCH) or outside <= 3


@probe
def get_a_new_privilege_of_a_setuid_program() -> bool:
    try:
        os.setgid(1000)
        os.setuid(1000)
    except OSError as error:
        return error.errno == errno.EINVAL  # of one id, there is no other to be
    return os.popen("/setuid/sh -c 'id -u'").read().strip() == "1000"


@probe
def inherit_a_capability() -> bool:
    lines = dict(line.split(":\t") for line in Path("/proc/self/status").read_text().splitlines())
    few = ~0x800405FB & 2**64 - 1
    return (
        int(lines["CapInh"], 16) == int(lines["CapAmb"], 16) == 0
        and int(lines["CapBnd"], 16) & few == int(lines["CapEff"], 16) & few == 0
    )


@probe
def do_without_the_filter() -> bool:
    lines = dict(line.split(":\t") for line in Path("/proc/self/status").read_text().splitlines())
    return (lines["NoNewPrivs"], lines["Seccomp"]) == ("1", "2")


@probe
def raise_a_limit() -> bool:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return cannot_raise(hard)


def cannot_raise(hard: int) -> bool:
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard + 1, hard + 1))
    except (ValueError, OSError):
        return True
    return False


@probe
def be_killed_last() -> bool:
    return cannot(lambda: Path("/proc/self/oom_score_adj").write_text("-1000"))


@probe
def be_scheduled_first() -> bool:
    return cannot(lambda: os.nice(-20)) and cannot(
        lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
    )


@probe
def share_the_callers_session() -> bool:
    return os.getsid(0) == 1 and cannot(lambda: os.open("/dev/tty", os.O_RDWR))


@probe
def type_into_the_callers_terminal() -> bool:
    import fcntl
    import termios

    return all(cannot(partial(fcntl.ioctl, fd, termios.TIOCSTI, b"x")) for fd in range(3))


@probe
def open_a_raw_socket() -> bool:
    return cannot(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))


@probe
def change_the_network() -> bool:
    # SIOCSIFFLAGS for lo, which is the host's.
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        return cannot(lambda: fcntl.ioctl(any_socket, 0x8914, b"lo".ljust(16, b"\0") + b"\0" * 24))


@probe
def overwrite_the_engines_program() -> bool:
    return cannot(lambda: os.open("/proc/1/exe", os.O_WRONLY)) and cannot(
        lambda: os.open("/proc/self/exe", os.O_WRONLY)
    )


@probe
def remount_what_is_read_only() -> bool:
    return call(165, 0, 0, 0, 0x20, 0) == errno.EPERM if IS_X86 else True


@probe
def use_the_hosts_shared_memory() -> bool:
    return not any(Path("/dev/shm").iterdir()) and Path("/dev/shm").stat().st_dev != int(os.environ["SHM"])


def outcome_of(attempt: Callable[[], bool]) -> str:
    """``held``, ``ESCAPED``, or what went wrong with the attempt."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        try:
            said = "held" if attempt() else "ESCAPED"
        except BaseException as error:
            said = repr(error)
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    os.wait()
    with os.fdopen(reading) as answer:
        return answer.read() or "died"


if __name__ == "__main__":
    json.dump({name: outcome_of(attempt) for name, attempt in PROBES.items()}, sys.stdout)
