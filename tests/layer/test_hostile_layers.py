"""Every hostile layer of the table, against each wall alone and against the real worker."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import EngineError, StoreUnwritable
from aiodocker_lite.layer.pool import Job, JoinJob, Unpackers, notes_of
from aiodocker_lite.layer.rules import Unpacked, UnpackRules
from aiodocker_lite.settings import Limits
from tests.cases.case import Case
from tests.cases.hostile_layers import bombs, hostile_layers
from tests.fakes.canary import NOBODY, Ground, escapes, in_a_copy, judge
from tests.fakes.layers import unpack
from tests.fakes.tars import END, directory, file, symlink

CASES = hostile_layers()
PLAIN = [case for case in CASES if not case.about.startswith(("T06", "T10", "T11", "L24"))]


def test_the_table_is_large_and_its_names_are_unique() -> None:
    """At least 200 cases, and one can be found by its name."""
    assert len(CASES) >= 200
    assert [name for name, count in Counter(case.name for case in CASES).items() if count > 1] == []


@pytest.mark.parametrize("user", [pytest.param(0, marks=pytest.mark.root), NOBODY])
@pytest.mark.parametrize(
    ("has_openat2", "upper"), [(True, False), (False, False), (True, True)], ids=["openat2", "walk", "upper"]
)
def test_nothing_outside_changes_and_each_case_ends_as_it_must(
    user: int, has_openat2: bool, upper: bool
) -> None:
    """Without a chroot, with and without openat2(2), as first and as upper layer: paths alone hold."""
    if os.geteuid() != 0:
        if user == 0:
            pytest.skip("needs root")
        user = os.geteuid()
    outcomes = in_a_copy(CASES, user, has_openat2=has_openat2, upper=upper)
    assert [f"{o.name}: {o.escapes}" for o in outcomes if o.escapes] == []
    assert [f"{o.name}: {o.problem}" for o in outcomes if o.problem] == []
    assert len(outcomes) == len(CASES)


@pytest.mark.parametrize("workers", [1, 3])
async def test_the_real_worker_ends_as_the_table_says(workers: int) -> None:
    """A sample, each in a directory of its own and at the same time as the others."""
    sample = PLAIN[:: len(PLAIN) // 20]
    ground = Ground(os.geteuid(), [f"root{n}" for n in range(len(sample))])
    problems: list[str] = []
    for root in ground.roots:
        root.mkdir()
    before = ground.photograph()

    async def attempt(unpackers: Unpackers, case: Case, root: Path, blob: Path) -> None:
        result = await unpacked(unpackers, case, ground, root, blob)
        problems.extend(filter(None, [judge(case, ground, root, result, is_root=os.geteuid() == 0).problem]))

    with ground.elsewhere() as elsewhere:
        async with Unpackers(workers) as unpackers, anyio.create_task_group() as tasks:
            for number, (case, root) in enumerate(zip(sample, ground.roots, strict=True)):
                tasks.start_soon(attempt, unpackers, case, root, elsewhere / str(number))
    assert problems == []
    assert escapes(before, ground.photograph()) == []
    ground.remove()


async def unpacked(
    unpackers: Unpackers, case: Case, ground: Ground, root: Path, blob: Path
) -> Unpacked | EngineError:
    content = case.pack(os.fsencode(ground.outside))
    blob.write_bytes(content)
    digest = Digest.of(content)
    job = Job(blob, digest, len(content), digest, root, case.limits, os.geteuid() == 0)

    async def all_of_it(have: int) -> int:
        return len(content)

    joint = blob.with_name(f"{blob.name}.joint")
    joint.mkdir()
    try:
        done = await unpackers.unpack(job, all_of_it, lambda consumed: None)
        await unpackers.join(JoinJob(digest, root, (), joint, job.privileged))
    except EngineError as error:
        return error
    else:
        return done
    finally:
        notes_of(root).unlink(missing_ok=True)


def test_bombs_are_refused_in_little_memory() -> None:
    """No worker needs 256 MB, whatever it is sent; measured in a process whose children are the workers only."""
    done = subprocess.run(
        [sys.executable, "-m", "scripts.hostile", "bombs"],
        cwd=Path(__file__).parents[2],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    refused, megabytes = map(int, done.stdout.split())
    assert refused == len(bombs())
    assert 0 < megabytes < 256


@pytest.mark.parametrize(
    "change",
    [
        lambda outside: (outside / "new").touch(),
        lambda outside: (outside / "dir").chmod(0o700),
        lambda outside: os.utime(outside / "link", (1, 1), follow_symlinks=False),
        lambda outside: os.setxattr(outside / "secret", "user.mark", b"1"),
        lambda outside: (outside / "linked").hardlink_to(outside / "dir/inner"),
        lambda outside: (outside / "secret").write_bytes(b"gone"),
        lambda outside: (outside / "dir").rename(outside.parent / "dir"),
    ],
)  # fmt: skip
def test_the_canary_sees_what_must_not_happen(change: Callable[[Path], object]) -> None:
    """Content, modes, times, attributes, links and names: an escape would be found."""
    ground = Ground(os.geteuid())
    before = ground.photograph()
    change(ground.outside)
    found = escapes(before, ground.photograph())
    ground.remove()
    assert found


async def test_a_root_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    """Whoever replaces the directory before it is opened gains nothing (L22)."""
    ground = Ground(os.geteuid())
    before = ground.photograph()
    root = tmp_path / "root"
    root.symlink_to(ground.outside)
    async with Unpackers(1) as unpackers:
        result = await unpacked(unpackers, CASES[0], ground, root, tmp_path / "blob")
    assert isinstance(result, StoreUnwritable)
    assert escapes(before, ground.photograph()) == []
    ground.remove()


def test_renames_elsewhere_are_no_harm(tmp_path: Path) -> None:
    """The kernel gives up a ".." while anybody renames anything: then we find the way ourselves."""
    layer = directory(b"x/y") + symlink(b"s", b"x/y") + symlink(b"w", b"s/../../d")
    layer += b"".join(file(b"w/%d/f" % n) for n in range(3000)) + END
    rename = "import os\nos.mkdir('a')\nwhile 1: os.rename('a', 'b'); os.rename('b', 'a')"
    (tmp_path / "root").mkdir()
    before, here = os.umask(0), Path.cwd()
    with subprocess.Popen([sys.executable, "-c", rename], cwd=tmp_path) as other:
        try:
            done = unpack(iter([layer]), tmp_path / "root", UnpackRules(os.geteuid() == 0, Limits()))
        finally:
            other.kill()
            os.umask(before)
            os.chdir(here)
    assert done.entries == 3003
