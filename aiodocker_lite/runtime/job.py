"""What a container's first processes are told: the spec, the root, and what the kernel is to be given."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from aiodocker_lite.errors import InvalidOption
from aiodocker_lite.options import INIT, STOP_SIGNAL, signal_number
from aiodocker_lite.runtime.ladder import Rung
from aiodocker_lite.runtime.seccomp import filter_of

if TYPE_CHECKING:
    from aiodocker_lite.runtime.oci import Backend

_FILES = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf")
_KERNELS = ("/proc", "/sys", "/sys/fs/cgroup", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue")


class Rootfs(Protocol):
    """What is needed of a plan of a root file system."""

    @property
    def root(self) -> Path: ...
    @property
    def lowers(self) -> tuple[Path, ...]: ...
    @property
    def upper(self) -> Path | None: ...
    @property
    def work(self) -> Path | None: ...
    @property
    def userxattr(self) -> bool: ...
    @property
    def model(self) -> Path | None: ...


def job_of(spec: dict[str, Any], rootfs: Rootfs, rung: Rung) -> dict[str, Any]:
    """All of it for a new container. Raises InvalidOption for what this rung cannot give."""
    if rung in (Rung.CHROOT, Rung.NONE):
        assert rootfs.upper is None
        _refuse_mounts(spec, rung)
        _refuse_what_needs_namespaces(spec, rung)
    if rung is Rung.CHROOT:
        # With this one, root leaves a chroot by making another.
        spec = _without_capability(spec, "CAP_SYS_CHROOT")
    return {
        **filtered(spec),
        "init": INIT in spec.get("annotations", {}),
        "rung": str(rung),
        "parent": os.getpid(),
        "rootfs": told_of(rootfs),
    }


def told_of(rootfs: Rootfs) -> dict[str, Any]:
    """The root, as a process of its own mounts it."""
    return {
        "root": str(rootfs.root),
        "lowers": [str(lower) for lower in rootfs.lowers],
        "upper": None if rootfs.upper is None else str(rootfs.upper),
        "work": None if rootfs.work is None else str(rootfs.work),
        "userxattr": rootfs.userxattr,
        "model": str(rootfs.model or (rootfs.lowers[-1] if rootfs.lowers else rootfs.root)),
    }


def filtered(spec: dict[str, Any]) -> dict[str, Any]:
    """The spec, and its filter as the kernel wants it."""
    seccomp = spec["linux"].get("seccomp")
    return {
        "spec": {**spec, "linux": {**spec["linux"], "seccomp": None}},
        "seccomp": filter_of(seccomp) if seccomp else b"",
    }


def stop_signal_of(spec: dict[str, Any]) -> int:
    """What ends it."""
    return signal_number(spec.get("annotations", {}).get(STOP_SIGNAL, "SIGTERM"))


def runtime_of(spec: dict[str, Any], rootfs: Rootfs, rung: Rung, backend: Backend) -> dict[str, Any]:
    """How the other runtime is called. Raises InvalidOption."""
    if rung in (Rung.CHROOT, Rung.NONE):
        raise InvalidOption("--runtime", f"{backend.kind} cannot be had with the isolation '{rung}'")
    backend.refuse(spec)
    place = str(rootfs.root.parent / "runtime")
    return {"program": backend.program, "options": list(backend.options), "place": place}


def _refuse_mounts(spec: dict[str, Any], rung: Rung) -> None:
    for mount in spec["mounts"]:
        target = mount["destination"]
        if target not in (_FILES if mount["type"] == "bind" else _KERNELS):
            raise InvalidOption("--volume", f"{target} cannot be mounted, with the isolation '{rung}'")


def _refuse_what_needs_namespaces(spec: dict[str, Any], rung: Rung) -> None:
    linux = spec["linux"]
    for option, is_wanted in (
        ("--read-only", spec["root"]["readonly"]),
        ("--device", "devices" in linux),
        ("--sysctl", "sysctl" in linux),
    ):
        if is_wanted:
            raise InvalidOption(option, f"it cannot be had with the isolation '{rung}'")


def _without_capability(spec: dict[str, Any], name: str) -> dict[str, Any]:
    sets = {kind: [c for c in names if c != name] for kind, names in spec["process"]["capabilities"].items()}
    return {**spec, "process": {**spec["process"], "capabilities": sets}}
