"""The same image, unpacked by us and by others, as root and as an ordinary user."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import anyio

from aiodocker_lite import Engine, Settings
from aiodocker_lite.layer.notes import Unapplied, read_notes
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
        overlay = trees.pop("overlay")
        # Overlayfs counts hidden names too.
        different = differences(trees.pop("flattened"), overlay, but=("links",))
        found.append(Comparison(user, "flattened", len(overlay), different))
        noted = trees.pop("noted", overlay)
        for tool, theirs in trees.items():
            # An ordinary user makes no devices: umoci puts empty files there, podman nothing.
            ours = noted if tool == "umoci" else overlay
            ours, theirs = (
                {n: node for n, node in each.items() if n not in devices} for each in (ours, theirs)
            )
            theirs[b"."] = _root(theirs[b"."], ours[b"."], tool)
            # A file that the image has whole may have holes, or not.
            found.append(Comparison(user, tool, len(ours), differences(ours, theirs, but=("data",))))
        if not user:
            devices = {name for name, node in overlay.items() if node.device}
    return found


def _root(theirs: Node, ours: Node, tool: str) -> Node:
    if tool == "podman":
        return ours  # it makes the root of an image anew, and read-only
    # Where no layer says what it is like, umoci gives it the time 0.
    return theirs if theirs.mtime_ns else replace(theirs, mtime_ns=ours.mtime_ns)


def _all_trees(layout: Path, name: str, base: Path) -> dict[str, Tree]:
    user = os.geteuid()
    (base / "run").mkdir(mode=0o700)
    os.environ.update(HOME=str(base), XDG_RUNTIME_DIR=str(base / "run"), PYTHONPATH=str(_CHECKOUT))
    os.chdir(base)
    layers, model = _pulled(name, base)
    plans = {}
    for kind in ("overlay", "flattened"):
        (base / kind).mkdir()
        plans[kind] = plan_rootfs(layers, base / kind, overlay=kind == "overlay", model=model)
    flatten(plans["flattened"])
    umoci = [program("umoci"), "unpack", *(["--rootless"] if user else [])]
    subprocess.run([*umoci, "--image", f"{layout}:latest", base / "bundle"], check=True, capture_output=True)
    podman = _podman_tree(name, base)
    enter_namespaces()
    mount_plan(plans["overlay"], user_namespace=user != 0)
    trees = {kind: read_tree(plan.root) for kind, plan in plans.items()}
    bundle = read_tree(base / "bundle" / "rootfs")
    if user:
        trees["noted"] = _with_noted_owners(trees["overlay"], layers)
        bundle = {name: _with_umoci_owner(node) for name, node in bundle.items()}
    return {**trees, "umoci": bundle, "podman": podman}


def _pulled(name: str, base: Path) -> tuple[list[Path], Path | None]:
    """The directories of an image, lowest first, and the one that its root is like."""

    async def pull() -> tuple[list[Path], Path | None]:
        async with Engine(Settings(root=base / "store")) as engine:
            image = await engine.pull(name)
            assert image.verified == "Yes"
            layers = engine.store.directories(image.config.diff_ids)
            assert layers is not None
            return layers, engine.store.root_model(image.config.diff_ids)

    return anyio.run(pull)


def _with_noted_owners(tree: Tree, layers: list[Path]) -> Tree:
    """What an ordinary user has pulled, with the owners that were noted beside its layers."""
    found = {}
    owners = [_noted_owners(layer) for layer in layers]
    for name, node in tree.items():
        for layer, noted in zip(reversed(layers), reversed(owners), strict=True):
            with suppress(FileNotFoundError, NotADirectoryError):
                inode = os.lstat(os.fsencode(layer) + b"/" + name).st_ino
                uid, gid = noted.get(inode, (node.uid, node.gid))
                found[name] = replace(node, uid=uid, gid=gid)
                break
    return found


def _noted_owners(layer: Path) -> dict[int, tuple[int, int]]:
    """By inode number, for all names of a file have one owner."""
    path = layer.with_name(f"{layer.name}.notes")
    if not path.exists():
        return {}
    found = {}
    with path.open("rb") as file:
        for note in read_notes(file):
            if isinstance(note, Unapplied):
                with suppress(FileNotFoundError):  # a device that was not made
                    inode = os.lstat(os.fsencode(layer) + b"/" + note.path).st_ino
                    found[inode] = note.attributes.uid, note.attributes.gid
    return found


def _with_umoci_owner(node: Node) -> Node:
    """An ordinary user's file with the owner that umoci keeps in an attribute: two fields of a protobuf."""
    kept = dict(node.xattrs).get(_OWNER)
    if kept is None:
        return node
    # The largest number means that nothing is kept of it.
    fields = {field: value for field, value in _fields(kept) if value != 0xFFFFFFFF}
    others = tuple(each for each in node.xattrs if each[0] != _OWNER)
    return replace(node, uid=fields.get(1, 0), gid=fields.get(2, 0), xattrs=others)


def _fields(packed: bytes) -> Iterator[tuple[int, int]]:
    """Numbers by their field (Protocol Buffers, "Encoding": varints only)."""
    numbers, value, shift = [], 0, 0
    for byte in packed:
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            numbers.append(value)
            value = shift = 0
    return zip((key >> 3 for key in numbers[::2]), numbers[1::2], strict=True)


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
