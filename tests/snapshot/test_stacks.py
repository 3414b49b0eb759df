"""Layers by chance, unpacked by us, merged by us and by the kernel."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiodocker_lite.errors import UnsafeEntry
from aiodocker_lite.layer import confine
from aiodocker_lite.layer.rules import UnpackRules
from aiodocker_lite.settings import Limits
from tests.fakes import tars
from tests.fakes.layers import unpack
from tests.fakes.overlays import USERS, overlay_and_tree
from tests.fakes.trees import differences

# Few names, so that layers meet.
paths = st.lists(st.sampled_from([b"a", b"b", b"c\xff"]), min_size=1, max_size=3).map(b"/".join)
modes = st.sampled_from([0o644, 0o755, 0o4711, 0o2755, 0o1777, 0o555, 0o200, 0o111, 0])
owners = st.sampled_from([0, 1, 1000, 70_000])
records = st.dictionaries(
    st.sampled_from([b"SCHILY.xattr.user.x", b"SCHILY.xattr.user.y", b"SCHILY.xattr.security.z"]),
    st.sampled_from([b"", b"1", b"\0\xff"]),
)
mtimes = st.sampled_from([b"0.5", b"-1", b"1600000000.123456789", b"1700000000"])


def _sparse(name: bytes, mode: int) -> bytes:
    """A file of 64 KiB with data in two places (GNU tar, "PAX Format, Version 1.0")."""
    layout = tars.padded(b"2\n4096\n512\n40960\n100\n")
    facts = {b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.realsize": b"65536"}
    content = layout + bytes(512) + b"x" * 100
    return tars.pax({**facts, b"GNU.sparse.name": name}) + tars.file(b"GNUSparseFile.0/x", content, mode=mode)


described = st.builds(
    lambda kind, name, mode, uid, gid, mtime, more: tars.pax({b"mtime": mtime, **more})
    + tars.header(name, kind, mode=mode, uid=uid, gid=gid),
    st.sampled_from([b"0", b"5", b"5", b"6"]), paths, modes, owners, owners, mtimes, records,
)  # fmt: skip
entries = st.one_of(
    described,
    st.builds(tars.file, paths, st.binary(max_size=20), mode=modes),
    st.builds(tars.directory, paths, mode=modes),
    st.builds(tars.symlink, paths, paths | st.sampled_from([b"..", b"/", b"/nowhere"])),
    st.builds(tars.hard_link, paths, paths),
    st.builds(_sparse, paths, modes),
    st.builds(
        lambda name: tars.file(b"/".join([*name.split(b"/")[:-1], b".wh." + name.split(b"/")[-1]])), paths
    ),
    st.builds(lambda name: tars.file(name + b"/.wh..wh..opq"), paths),
    st.just(tars.file(b".wh..wh..opq")),
    st.builds(lambda name: tars.header(name, b"3", device=(1, 3)), paths),
)
layers = st.lists(entries, max_size=14).map(lambda parts: b"".join(parts) + tars.END)


def unpacked(layer: bytes, root: Path, below: list[Path]) -> bool:
    """Unpack a layer and join it to those below, as a worker does; False if it was refused."""
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1] == 0
    try:
        os.umask(0)
        rules = UnpackRules(os.geteuid() == 0, Limits())
        confine.step_apart()
        root.mkdir()
        unpack(iter([layer]), root, rules, below=below)
    except UnsafeEntry:
        os._exit(1)
    except BaseException as error:
        os.write(2, f"unpacking ended with {error!r}\n".encode())
        os.kill(os.getppid(), signal.SIGKILL)
    os._exit(0)


@pytest.mark.overlay
@pytest.mark.parametrize("user", USERS)
@settings(
    max_examples=int(os.environ.get("STACKS", "30")), deadline=None, suppress_health_check=list(HealthCheck)
)
@given(stack=st.lists(layers, min_size=1, max_size=5))
def test_a_stack_of_layers_is_merged_as_the_kernel_does(user: int, stack: list[bytes]) -> None:
    """Whatever our unpacker makes of them; a layer that it refuses is left out."""

    def unpack_all(base: Path) -> list[Path]:
        found = [base / "bottom"]
        found[0].mkdir()
        for number, layer in enumerate(stack):
            root = base / f"layer-{number}"
            if unpacked(layer, root, found[::-1]):
                joint = root.with_name(f"{root.name}.joint")
                found += [root, joint] if joint.exists() else [root]
        return found

    overlay, tree = overlay_and_tree(unpack_all, user)
    assert differences(tree, overlay, but=("links",)) == []
