"""`linux.seccomp` of a runtime spec as the kernel takes it: a classic BPF program (seccomp(2)).

For each architecture a binary search over ranges of numbers with one verdict; rules about arguments
stand where the search ends. Built once for each spec of a process's life.
"""

from __future__ import annotations

import marshal
import os
import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeAlias

from aiodocker_lite.errors import InvalidOption
from aiodocker_lite.runtime.numbers import numbers_of

Instruction: TypeAlias = tuple[int, int, int, int]
"""Code, jump if true, jump if false, operand."""
Condition: TypeAlias = tuple[int, str, int, int]
"""Which argument, operator, value, second value."""
Rule: TypeAlias = tuple[tuple[Condition, ...], int]
"""All of these must hold for this verdict."""
Verdict: TypeAlias = int | tuple[Rule, ...]

_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06
_JUMP, _IF_EQUAL, _IF_GREATER, _IF_AT_LEAST = 0x05, 0x15, 0x25, 0x35
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_FAR = 255
_LOW, _X32 = 0xFFFFFFFF, 0x40000000

_AUDIT = {"x86_64": 0xC000003E, "x86": 0x40000003, "aarch64": 0xC00000B7}
_ARCHITECTURES = {
    "SCMP_ARCH_X86_64": "x86_64",
    "SCMP_ARCH_X86": "x86",
    "SCMP_ARCH_AARCH64": "aarch64",
}
_ACTIONS = {
    "SCMP_ACT_ALLOW": 0x7FFF0000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
}
_WITH_NUMBER = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
_KILL_PROCESS = _ACTIONS["SCMP_ACT_KILL_PROCESS"]
_EPERM = 1
_WITHOUT_REFERENCES = 2
"""The version of marshal in which equal documents are equal bytes."""


def filter_of(seccomp: dict[str, Any]) -> bytes:
    """The program, as an array of `struct sock_filter`. Raises InvalidOption."""
    return _build(marshal.dumps(seccomp, _WITHOUT_REFERENCES))


@lru_cache(maxsize=8)
def _build(content: bytes) -> bytes:
    seccomp = marshal.loads(content)
    default = _action(seccomp["defaultAction"], seccomp.get("defaultErrnoRet"))
    named = seccomp.get("architectures") or [f"SCMP_ARCH_{os.uname().machine.upper()}"]
    machines = [_ARCHITECTURES[name] for name in named if name in _ARCHITECTURES]
    program: list[Instruction] = [(_LOAD, 0, 0, _ARCHITECTURE)]
    for machine in machines:
        body: list[Instruction] = [(_LOAD, 0, 0, _NUMBER)]
        if machine == "x86_64":
            # Numbers of x32, which no distribution has, would be taken for others' (X09).
            body += [(_IF_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, default)]
        body += _search(_ranges(seccomp, machine, default), default)
        program += [(_IF_EQUAL, 1, 0, _AUDIT[machine]), (_JUMP, 0, 0, len(body)), *body]
    program.append((_RETURN, 0, 0, _KILL_PROCESS))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def _action(name: str, number: int | None) -> int:
    if name not in _ACTIONS:
        raise InvalidOption("--security-opt", f"seccomp's action '{name}' is not known here")
    return _ACTIONS[name] | (_EPERM if number is None else number) * (name in _WITH_NUMBER)


def _ranges(seccomp: dict[str, Any], machine: str, default: int) -> list[tuple[int, Verdict]]:
    """Where each verdict begins, in the order of numbers; it holds up to the next one."""
    numbers = numbers_of(machine)
    verdicts: dict[int, list[Rule]] = {}
    for entry in seccomp.get("syscalls") or ():
        action = _action(entry["action"], entry.get("errnoRet"))
        rules = [(conditions, action) for conditions in _alternatives(entry.get("args") or ())]
        for name in entry["names"]:
            if name in numbers:
                verdicts.setdefault(numbers[name], []).extend(rules)
    found: list[tuple[int, Verdict]] = [(0, default)]
    for number in sorted(verdicts):
        found += [(number, _verdict(verdicts[number])), (number + 1, default)]
    shorter: list[tuple[int, Verdict]] = []
    for begin, verdict in dict(found).items():  # of two that begin at the same number, the later one
        if not shorter or shorter[-1][1] != verdict:
            shorter.append((begin, verdict))
    return shorter


def _alternatives(arguments: Sequence[dict[str, Any]]) -> list[tuple[Condition, ...]]:
    """Conditions that hold together; those about the same argument are alternatives, as in runc."""
    conditions = [(a["index"], a["op"], a["value"], a.get("valueTwo", 0)) for a in arguments]
    if len({condition[0] for condition in conditions}) < len(conditions):
        return [(condition,) for condition in conditions]
    return [tuple(conditions)]


def _verdict(rules: list[Rule]) -> Verdict:
    """One action where nothing is asked about arguments, else the rules, the unconditional one last."""
    always = [action for conditions, action in rules if not conditions]
    if always:
        return always[0]
    return tuple(rules)


def _search(ranges: Sequence[tuple[int, Verdict]], default: int) -> list[Instruction]:
    if len(ranges) == 1:
        verdict = ranges[0][1]
        return [(_RETURN, 0, 0, verdict)] if isinstance(verdict, int) else _decide(verdict, default)
    middle = len(ranges) // 2
    lower, upper = _search(ranges[:middle], default), _search(ranges[middle:], default)
    begin = ranges[middle][0]
    if len(lower) <= _FAR:
        return [(_IF_AT_LEAST, len(lower), 0, begin), *lower, *upper]
    return [(_IF_AT_LEAST, 0, 1, begin), (_JUMP, 0, 0, len(lower)), *lower, *upper]


def _decide(rules: tuple[Rule, ...], default: int) -> list[Instruction]:
    """The first rule whose conditions hold."""
    program: list[Instruction] = []
    for conditions, action in rules:
        tests: list[Instruction] = [(_RETURN, 0, 0, action)]
        for condition in reversed(conditions):
            tests = [*_test(condition, len(tests)), *tests]
        program += tests
    return [*program, (_RETURN, 0, 0, default)]


def _test(condition: Condition, behind: int) -> list[Instruction]:
    """Go on if the condition holds, or jump over what is `behind`: 64 bits, in two halves."""
    index, operator, value, second = condition
    low = _ARGUMENTS + 8 * index
    if not 0 <= index < 6:
        raise InvalidOption("--security-opt", f"seccomp: there is no argument {index} of a system call")
    if operator == "SCMP_CMP_MASKED_EQ":
        return [
            (_LOAD, 0, 0, low + 4), (_AND, 0, 0, value >> 32), (_IF_EQUAL, 0, behind + 3, second >> 32),
            (_LOAD, 0, 0, low), (_AND, 0, 0, value & _LOW), (_IF_EQUAL, 0, behind, second & _LOW),
        ]  # fmt: skip
    high, value = value >> 32, value & _LOW
    upper, lower = (_LOAD, 0, 0, low + 4), (_LOAD, 0, 0, low)
    match operator:
        case "SCMP_CMP_EQ":
            return [upper, (_IF_EQUAL, 0, behind + 2, high), lower, (_IF_EQUAL, 0, behind, value)]
        case "SCMP_CMP_NE":
            return [upper, (_IF_EQUAL, 0, 2, high), lower, (_IF_EQUAL, behind, 0, value)]
        case "SCMP_CMP_GT" | "SCMP_CMP_GE":
            last = _IF_GREATER if operator == "SCMP_CMP_GT" else _IF_AT_LEAST
            return [
                upper, (_IF_GREATER, 3, 0, high), (_IF_EQUAL, 0, behind + 2, high), lower, (last, 0, behind, value)
            ]  # fmt: skip
        case "SCMP_CMP_LT" | "SCMP_CMP_LE":
            last = _IF_AT_LEAST if operator == "SCMP_CMP_LT" else _IF_GREATER
            return [
                upper, (_IF_GREATER, behind + 3, 0, high), (_IF_EQUAL, 0, 2, high), lower, (last, behind, 0, value)
            ]  # fmt: skip
        case _:
            raise InvalidOption("--security-opt", f"seccomp's operator '{operator}' is not known here")
