"""Which system calls a container may make: a default that is docker's, and profiles in docker's format.

The result is `linux.seccomp` of the runtime spec. What is not allowed fails with EPERM.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from functools import cache
from typing import Any

from aiodocker_lite.errors import InvalidOption

_ALLOWED = """
    _llseek _newselect accept accept4 access adjtimex alarm arch_prctl bind brk cachestat capget capset
    chdir chmod chown chown32 clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime
    clock_gettime64 clock_nanosleep clock_nanosleep_time64 close close_range connect copy_file_range creat
    dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait
    epoll_wait_old eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64
    fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl
    fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstat64 fstatat64
    fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64 futex_wait futex_waitv
    futex_wake futimesat get_robust_list get_thread_area getcpu getcwd getdents getdents64 getegid
    getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid
    getpgrp getpid getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32 getrlimit
    getrusage getsid getsockname getsockopt gettid gettimeofday getuid getuid32 getxattr getxattrat
    inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents
    io_pgetevents io_pgetevents_time64 io_setup io_submit ioctl ioprio_get ioprio_set ipc kill
    landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lchown32 lgetxattr link linkat
    listen listmount listxattr listxattrat llistxattr lremovexattr lseek lsetxattr lstat lstat64 madvise
    map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2
    mlockall mmap mmap2 modify_ldt mprotect mq_getsetattr mq_notify mq_open mq_timedreceive
    mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget msgrcv
    msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat open openat openat2
    pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll
    ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease pselect6 pselect6_time64 pwrite64
    pwritev pwritev2 read readahead readlink readlinkat readv recvfrom recvmmsg recvmmsg_time64 recvmsg
    remap_file_pages removexattr removexattrat rename renameat renameat2 restart_syscall rmdir rseq
    rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
    rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min
    sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval
    sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler
    sched_yield seccomp select semctl semget semop semtimedop semtimedop_time64 sendfile sendfile64
    sendmmsg sendmsg sendto set_robust_list set_thread_area set_tid_address setfsgid setfsgid32 setfsuid
    setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setpgid setpriority setregid setregid32
    setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit setsid setsockopt setuid
    setuid32 setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4
    sigprocmask sigreturn socketcall socketpair splice stat stat64 statfs statfs64 statmount statx symlink
    symlinkat sync sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete
    timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create
    timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill truncate truncate64
    ugetrlimit umask uname unlink unlinkat uretprobe utime utimensat utimensat_time64 utimes vfork
    vmsplice wait4 waitid waitpid write writev
"""
"""What every container may call; without io_uring, as docker since version 25."""
_BY_CAPABILITY = {
    "CAP_BPF": "bpf",
    "CAP_DAC_READ_SEARCH": "open_by_handle_at",
    "CAP_PERFMON": "perf_event_open",
    "CAP_SYS_ADMIN": "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr "
    "move_mount open_tree open_tree_attr perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog "
    "umount umount2 unshare",
    "CAP_SYS_BOOT": "reboot",
    "CAP_SYS_CHROOT": "chroot",
    "CAP_SYS_MODULE": "delete_module finit_module init_module",
    "CAP_SYS_NICE": "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    "CAP_SYS_PACCT": "acct",
    "CAP_SYS_PTRACE": "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace",
    "CAP_SYS_RAWIO": "ioperm iopl",
    "CAP_SYS_TIME": "clock_settime clock_settime64 settimeofday stime",
    "CAP_SYS_TTY_CONFIG": "vhangup",
    "CAP_SYSLOG": "syslog",
}
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
"""Linux, 32 bits, the uname of 2.6, and the question which one it is."""
_NEW_NAMESPACES = 0x7E020000
"""The flags of clone(2) that ask for one."""
_AF_VSOCK = 40
_ENOSYS = 38

_MACHINES = {
    "x86_64": ("amd64", ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]),
    "aarch64": ("arm64", ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]),
}
"""Without x32, which docker has: no distribution is of it, and other runtimes would let its calls through (X09)."""


@cache
def default_filter(capabilities: frozenset[str], machine: str) -> dict[str, Any] | None:
    """`linux.seccomp` of a container with these capabilities; None for a machine that we have no numbers of."""
    if machine not in _MACHINES:
        return None
    allowed = set(_ALLOWED.split())
    for capability in capabilities & _BY_CAPABILITY.keys():
        allowed |= set(_BY_CAPABILITY[capability].split())
    rules = [_rule(sorted(allowed)), _rule(["socket"], _argument(0, _AF_VSOCK, "SCMP_CMP_NE"))]
    rules += [_rule(["personality"], _argument(0, which, "SCMP_CMP_EQ")) for which in _PERSONALITIES]
    if "CAP_SYS_ADMIN" not in capabilities:
        # What clone3 is asked for cannot be seen by a filter; programs that do not find it use clone.
        rules.append(_rule(["clone"], {**_argument(0, _NEW_NAMESPACES, "SCMP_CMP_MASKED_EQ"), "valueTwo": 0}))
        rules.append({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": _ENOSYS})
    return _filter(_MACHINES[machine][1], rules)


def _filter(architectures: list[str], rules: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "architectures": architectures,
        "syscalls": rules,
    }


def _rule(names: list[str], *arguments: dict[str, Any]) -> dict[str, Any]:
    return {"names": names, "action": "SCMP_ACT_ALLOW", **({"args": list(arguments)} if arguments else {})}


def _argument(index: int, value: int, operator: str) -> dict[str, Any]:
    return {"index": index, "value": value, "op": operator}


def read_profile(text: str, capabilities: Iterable[str], machine: str) -> dict[str, Any]:
    """`linux.seccomp` of a profile in docker's format. Raises InvalidOption."""
    try:
        profile = json.loads(text)
        architectures = profile.get("architectures")
        if architectures is None:
            native = _MACHINES.get(machine, ("", ["SCMP_ARCH_" + machine.upper()]))[1][0]
            maps = [entry for entry in profile.get("archMap") or () if entry["architecture"] == native]
            architectures = [native, *(maps[0].get("subArchitectures") or () if maps else ())]
        found = {"defaultAction": profile["defaultAction"], "architectures": architectures}
        if profile.get("defaultErrnoRet") is not None:
            found["defaultErrnoRet"] = profile["defaultErrnoRet"]
        found["syscalls"] = [
            _from_profile(entry)
            for entry in profile.get("syscalls") or ()
            if _applies(entry, set(capabilities), _MACHINES.get(machine, (machine, []))[0])
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidOption(
            "--security-opt", f"the seccomp profile cannot be understood: {error!r}"
        ) from error
    return found


def _from_profile(entry: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"names": entry.get("names") or [entry["name"]], "action": entry["action"]}
    if entry.get("errnoRet") is not None:
        found["errnoRet"] = entry["errnoRet"]
    if entry.get("args"):
        keys = ("index", "value", "valueTwo", "op")
        found["args"] = [
            {key: argument[key] for key in keys if key in argument} for argument in entry["args"]
        ]
    return found


def _applies(entry: dict[str, Any], capabilities: set[str], architecture: str) -> bool:
    includes, excludes = entry.get("includes") or {}, entry.get("excludes") or {}
    return (
        set(includes.get("caps") or ()) <= capabilities
        and architecture in (includes.get("arches") or [architecture])
        and _kernel() >= _version(includes.get("minKernel") or "0.0")
        and not set(excludes.get("caps") or ()) & capabilities
        and architecture not in (excludes.get("arches") or ())
        and not ("minKernel" in excludes and _kernel() >= _version(excludes["minKernel"]))
    )


def _kernel() -> tuple[int, ...]:
    return _version(".".join(os.uname().release.split("-")[0].split(".")[:2]))


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))
