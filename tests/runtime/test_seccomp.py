"""Filters of system calls: what the kernel makes of each rule."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import struct
from typing import Any

import pytest

from aiodocker_lite import syscalls
from aiodocker_lite.bundle.rights import ALL_CAPABILITIES
from aiodocker_lite.bundle.seccomp import default_filter
from aiodocker_lite.errors import InvalidOption
from aiodocker_lite.runtime.numbers import numbers_of
from aiodocker_lite.runtime.seccomp import filter_of

MACHINE = os.uname().machine
ARCHITECTURE = f"SCMP_ARCH_{MACHINE.upper()}"
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

pytestmark = pytest.mark.skipif(MACHINE not in ("x86_64", "aarch64"), reason="there are no numbers")


def profile(*entries: dict[str, Any], default: str = "SCMP_ACT_ALLOW") -> dict[str, Any]:
    return {"defaultAction": default, "architectures": [ARCHITECTURE], "syscalls": list(entries)}


def errors_of(seccomp: dict[str, Any], name: str, *calls: tuple[int, ...]) -> list[int] | int:
    """The error of each call under a filter, 0 for none; or the negative signal that ended it all."""
    program = filter_of(seccomp)
    number = numbers_of(MACHINE)[name]
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
        syscalls.load_filter(program)
        found = bytearray()
        for arguments in calls:
            words = [ctypes.c_ulong(argument) for argument in (*arguments, 0, 0, 0, 0, 0, 0)[:6]]
            found.append(ctypes.get_errno() if libc.syscall(ctypes.c_long(number), *words) < 0 else 0)
        os.write(writing, found)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        content = answer.read()
    _, status = os.waitpid(child, 0)
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else list(content)


HUGE = 5 << 32
SAMPLE = (0, 6, 7, 8, 2**32 - 1, 2**32 + 6, HUGE + 6, HUGE + 7, HUGE + 8, 6 << 32, 2**64 - 1)


@pytest.mark.parametrize("value", [7, HUGE + 7, 0, 2**64 - 1])
@pytest.mark.parametrize(
    ("operator", "holds"),
    [
        ("SCMP_CMP_EQ", lambda given, value: given == value),
        ("SCMP_CMP_NE", lambda given, value: given != value),
        ("SCMP_CMP_GT", lambda given, value: given > value),
        ("SCMP_CMP_GE", lambda given, value: given >= value),
        ("SCMP_CMP_LT", lambda given, value: given < value),
        ("SCMP_CMP_LE", lambda given, value: given <= value),
    ],
)
def test_operators_compare_64_bits(operator: str, holds: Any, value: int) -> None:
    """Against every kind of neighbour, in either half; getpid(2) does not look at its arguments."""
    entry = {
        "names": ["getpid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 42,
        "args": [{"index": 2, "value": value, "op": operator}],
    }  # fmt: skip
    found = errors_of(profile(entry), "getpid", *((0, 0, given) for given in SAMPLE))
    assert found == [42 if holds(given, value) else 0 for given in SAMPLE]


def test_a_mask_selects_bits() -> None:
    """In both halves."""
    mask, wanted = (1 << 40) | 0xF0, (1 << 40) | 0x30
    argument = {"index": 0, "value": mask, "valueTwo": wanted, "op": "SCMP_CMP_MASKED_EQ"}
    entry = {"names": ["getpid"], "action": "SCMP_ACT_ERRNO", "args": [argument]}
    given = (wanted, wanted | 0xF, wanted | 1 << 50, 0x30, wanted | 0x40, 1 << 40)
    assert errors_of(profile(entry), "getpid", *((each,) for each in given)) == [1, 1, 1, 0, 0, 0]


def test_conditions_hold_together_and_rules_are_alternatives() -> None:
    """Two of one argument are alternatives, as in runc; the first rule that holds decides."""

    def equal(index: int, value: int) -> dict[str, Any]:
        return {"index": index, "value": value, "op": "SCMP_CMP_EQ"}

    both = {
        "names": ["getpid"],
        "action": "SCMP_ACT_ERRNO",
        "errnoRet": 5,
        "args": [equal(0, 1), equal(1, 2)],
    }
    either = {
        "names": ["getpid"],
        "action": "SCMP_ACT_ERRNO",
        "errnoRet": 6,
        "args": [equal(2, 3), equal(2, 4)],
    }
    calls = ((1, 2), (1, 3), (0, 2), (0, 0, 3), (0, 0, 4), (0, 0, 5), (1, 2, 3))
    assert errors_of(profile(both, either), "getpid", *calls) == [5, 0, 0, 6, 6, 0, 5]


def test_actions_are_the_kernels() -> None:
    """An error, a signal, or the end."""
    for action, outcome in (
        ("SCMP_ACT_ALLOW", [0]),
        ("SCMP_ACT_LOG", [0]),
        ("SCMP_ACT_ERRNO", [errno.EPERM]),
        ("SCMP_ACT_TRAP", -signal.SIGSYS),
        ("SCMP_ACT_KILL", -signal.SIGSYS),
        ("SCMP_ACT_KILL_PROCESS", -signal.SIGSYS),
        ("SCMP_ACT_TRACE", [errno.ENOSYS]),
    ):
        assert errors_of(profile({"names": ["getpid"], "action": action}), "getpid", ()) == outcome, action


@pytest.mark.parametrize(
    "seccomp",
    [
        profile({"names": ["getpid"], "action": "SCMP_ACT_NOTIFY"}),
        profile(default="SCMP_ACT_ODD"),
        profile({"names": ["getpid"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 0, "op": "ODD"}]}),
        profile(
            {
                "names": ["getpid"], "action": "SCMP_ACT_ALLOW",
                "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}],
            }
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_honoured_is_refused(seccomp: dict[str, Any]) -> None:
    """A rule that is left out would be a hole."""
    with pytest.raises(InvalidOption, match="--security-opt"):
        filter_of(seccomp)


def verdict(program: bytes, architecture: int, number: int) -> int:
    """What a program says of a call without arguments: the kernel's machine, in a few lines."""
    instructions = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
    data = struct.pack("=iIQ6Q", number, architecture, 0, *([0] * 6))
    at = accumulator = 0
    while True:
        code, yes, no, operand = instructions[at]
        at += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, operand)
        elif code == 0x54:
            accumulator &= operand
        elif code == 0x05:
            at += operand
        elif code == 0x06:
            return int(operand)
        else:
            holds = {0x15: accumulator == operand, 0x25: accumulator > operand, 0x35: accumulator >= operand}
            at += yes if holds[code] else no


@pytest.mark.parametrize(
    ("host", "machine", "audit"),
    [("x86_64", "x86_64", 0xC000003E), ("x86_64", "x86", 0x40000003), ("aarch64", "aarch64", 0xC00000B7)],
)
@pytest.mark.parametrize("capabilities", [(), ALL_CAPABILITIES])
def test_every_number_gets_its_verdict(
    host: str, machine: str, audit: int, capabilities: tuple[str, ...]
) -> None:
    """By name and without arguments, on each architecture, with few rights and with all."""
    seccomp = default_filter(frozenset(capabilities), host)
    assert seccomp is not None
    program = filter_of(seccomp)
    wanted = {name: 0x7FFF0000 for entry in seccomp["syscalls"] for name in entry["names"]}
    if not capabilities:
        wanted["clone3"] = 0x00050000 | errno.ENOSYS
    names = {number: name for name, number in numbers_of(machine).items()}
    for number in range(-1, 600):
        expected = wanted.get(names.get(number, ""), 0x00050000 | errno.EPERM)
        assert verdict(program, audit, number) == expected, names.get(number, number)
    assert verdict(program, 0xDEAD, 1) == 0x80000000, "another architecture is the end"


def test_a_filter_is_built_once() -> None:
    """A second container does not wait for it."""
    seccomp = default_filter(frozenset(), MACHINE)
    assert seccomp is not None
    assert filter_of(seccomp) is filter_of(dict(seccomp))
