"""The same image, unpacked by us and by others, as root and as an ordinary user."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import anyio

from aiodocker_lite import Engine, Settings
from aiodocker_lite.snapshot import flatten, plan_rootfs
from tests.fakes.overlays import as_user, enter_namespaces, mount_plan
from tests.fakes.processes import program
from tests.fakes.trees import Node, differences, read_tree

Tree = dict[bytes, Node]
_CHECKOUT = Path(__file__).parents[2]
_OWNER = "user.rootlesscontainers"
"""Where umoci keeps the owner that an ordinary user cannot give to a file."""
_READ = """
import pickle, subprocess, sys
from pathlib import Path
from tests.fakes.trees import read_tree
place = subprocess.run(sys.argv[1:], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
sys.stdout.buffer.write(pickle.dumps(read_tree(Path(place))))
"""


@dataclass(frozen=True)
class Comparison:
    """One image and one other way to unpack it, next to our mounted layers."""

    user: int
    tool: str
    entries: int
    differences: list[str]


def compare(layout: Path, name: str, users: Sequence[int]) -> list[Comparison]:
    """Unpack an image of a layout, which has this name in a registry, in all ways, and compare the trees."""
    found = []
    devices: set[bytes] = set()
    for user in users:
        trees = as_user(user, partial(_all_trees, layout, name))
        ours = trees.pop("overlay")
        for tool, theirs in trees.items():
            if tool == "flattened":
                # Overlayfs counts hidden names too.
                different = differences(theirs, ours, but=("links",))
            else:
                # A file that the image has whole may have holes, or not.
                different = differences(*_comparable(ours, theirs, tool, devices), but=("data",))
            found.append(Comparison(user, tool, len(ours), different))
        if not user:
            devices = {name for name, node in ours.items() if node.device}
    return found


def _all_trees(layout: Path, name: str, base: Path) -> dict[str, Tree]:
    user = os.geteuid()
    (base / "run").mkdir(mode=0o700)
    os.environ.update(HOME=str(base), XDG_RUNTIME_DIR=str(base / "run"), PYTHONPATH=str(_CHECKOUT))
    os.chdir(base)
    layers = _pulled(name, base)
    plans = {}
    for kind in ("overlay", "flattened"):
        (base / kind).mkdir()
        plans[kind] = plan_rootfs(layers, base / kind, overlay=kind == "overlay")
    flatten(plans["flattened"])
    umoci = [program("umoci"), "unpack", *(["--rootless"] if user else [])]
    subprocess.run([*umoci, "--image", f"{layout}:latest", base / "bundle"], check=True, capture_output=True)
    podman = _podman_tree(name, base)
    enter_namespaces()
    mount_plan(plans["overlay"], user_namespace=user != 0)
    trees = {kind: read_tree(plan.root) for kind, plan in plans.items()}
    return {**trees, "umoci": read_tree(base / "bundle" / "rootfs"), "podman": podman}


def _pulled(name: str, base: Path) -> list[Path]:
    """The directories of the layers of an image, lowest first."""

    async def pull() -> list[Path]:
        async with Engine(Settings(root=base / "store")) as engine:
            image = await engine.pull(name)
            assert image.verified == "Yes"
            return [engine.store.layers.files(diff_id) for diff_id in image.config.diff_ids]

    return anyio.run(pull)


def _podman_tree(name: str, base: Path) -> Tree:
    """An ordinary user has one user ID here, and podman leaves out the owners that do not fit it."""
    podman = [program("podman"), "--root", f"{base}/podman", "--runroot", f"{base}/runroot"]
    podman += ["--storage-driver", "overlay", "--cgroup-manager", "cgroupfs"]
    inside: list[str] = []
    if os.geteuid():
        podman += ["--storage-opt", "overlay.ignore_chown_errors=true"]
        inside = [*podman, "unshare"]
    try:
        subprocess.run([*podman, "pull", "-q", "--tls-verify=false", name], check=True, capture_output=True)
        # Where it mounts, only who is in the same namespace can see.
        read = [sys.executable, "-c", _READ, *podman, "image", "mount", name]
        done = subprocess.run([*inside, *read], check=True, capture_output=True)
    finally:
        with suppress(FileNotFoundError):
            # What keeps podman's user namespace would outlast us.
            os.kill(int((base / "run/libpod/tmp/pause.pid").read_text()), signal.SIGTERM)
    tree: Tree = pickle.loads(done.stdout)
    return tree


def _comparable(ours: Tree, theirs: Tree, tool: str, devices: set[bytes]) -> tuple[Tree, Tree]:
    """Both without what they cannot agree on."""
    ours, theirs = dict(ours), dict(theirs)
    if tool == "podman":
        theirs[b"."] = ours[b"."]  # it makes the root of an image anew, and read-only
    elif not theirs[b"."].mtime_ns:
        theirs[b"."] = replace(theirs[b"."], mtime_ns=ours[b"."].mtime_ns)  # no layer says what it is like
    for name in devices:
        # An ordinary user makes none: umoci puts an empty file there, podman and we nothing.
        theirs.pop(name, None)
    for name, node in theirs.items():
        theirs[name] = replace(node, xattrs=tuple(each for each in node.xattrs if each[0] != _OWNER))
    return ours, theirs
