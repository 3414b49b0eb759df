"""The default filter as a part of the spec, and profiles in docker's format."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aiodocker_lite.bundle.rights import ALL_CAPABILITIES, CAPABILITIES
from aiodocker_lite.bundle.seccomp import default_filter, read_profile
from aiodocker_lite.errors import InvalidOption
from aiodocker_lite.runtime.numbers import numbers_of


def names_of(seccomp: dict[str, Any] | None) -> set[str]:
    assert seccomp is not None
    return {name for entry in seccomp["syscalls"] for name in entry["names"] if "args" not in entry}


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_every_name_is_one_of_the_kernels(machine: str) -> None:
    """A name that is written wrongly would forbid what it means to allow."""
    known = set().union(*(numbers_of(each) for each in ("x86_64", "x86", "aarch64")))
    assert names_of(default_filter(frozenset(ALL_CAPABILITIES), machine)) - known == set()


def test_what_needs_a_capability_comes_with_it() -> None:
    """And not without."""
    few, all_of_them = (
        names_of(default_filter(frozenset(c), "x86_64")) for c in (CAPABILITIES, ALL_CAPABILITIES)
    )
    assert {"read", "openat", "execve", "futex", "chroot"} <= few
    more = {"mount", "unshare", "setns", "bpf", "ptrace", "reboot", "init_module", "settimeofday", "clone"}
    assert not more & few
    assert more <= all_of_them
    never = {
        "keyctl",
        "add_key",
        "request_key",
        "kexec_load",
        "userfaultfd",
        "io_uring_setup",
        "swapon",
        "nfsservctl",
    }
    assert not never & all_of_them
    assert default_filter(frozenset(), "riscv64") is None


def test_rules_of_a_profile_apply_where_they_say() -> None:
    """By capability, by machine, by kernel; the rest stands as it is."""
    entries = [
        {"names": ["a"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_X"]}},
        {"name": "b", "action": "SCMP_ACT_ERRNO", "errnoRet": 5, "excludes": {"caps": ["CAP_X"]}},
        {"names": ["c"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["amd64"], "minKernel": "4.8"}},
        {"names": ["d"], "action": "SCMP_ACT_ALLOW", "excludes": {"arches": ["amd64"]}},
        {"names": ["e"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "99.0"}},
        {"names": ["f"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ", "x": 1}]},
    ]  # fmt: skip
    maps = [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}]
    text = json.dumps(
        {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "archMap": maps, "syscalls": entries}
    )
    found = read_profile(text, ["CAP_X"], "x86_64")
    assert found["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    assert [entry["names"] for entry in found["syscalls"]] == [["a"], ["c"], ["f"]]
    assert found["syscalls"][-1]["args"] == [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]
    other = read_profile(text, [], "x86_64")
    assert other["syscalls"][0] == {"names": ["b"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5}


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{}]}', "5"]
)
def test_a_profile_that_is_none_is_refused(text: str) -> None:
    """With the option that it came by."""
    with pytest.raises(InvalidOption, match="--security-opt"):
        read_profile(text, [], "x86_64")
