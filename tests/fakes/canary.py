"""A directory that nobody may touch, next to one in which strangers' layers are unpacked."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from aiodocker_lite import syscalls
from aiodocker_lite.errors import EngineError, LimitExceeded
from aiodocker_lite.inflate import load_decoders
from aiodocker_lite.layer.decompress import plain_blocks
from aiodocker_lite.layer.rules import Unpacked, UnpackRules
from aiodocker_lite.removal import remove_directory
from tests.cases.case import OUT, Case
from tests.fakes.layers import unpack
from tests.fakes.trees import Node, read_tree

NOBODY = 65534


_USED = [
    "a",
    "b",
    "d",
    "dir",
    "etc",
    "f",
    "go",
    "h",
    "k",
    "l",
    "no",
    "outside",
    "proc",
    "root-evil",
    "s",
    "v",
    "w",
    "x",
]
"""Names that the layers of the table use for directories that they do not describe."""


class Ground:
    """The place of one experiment: `outside` and `root-evil` stay as they are, layers go below `root`."""

    def __init__(self, user: int, roots: Iterable[str] = ("root",)) -> None:
        self.base = Path(tempfile.mkdtemp(prefix="g"))
        self.outside = self.base / "outside"
        self.roots = [self.base / name for name in roots]
        self.joint = self.base / "joint"
        self.lower = self.base / "lower"
        for place in (self.outside, self.base / "root-evil"):
            (place / "dir").mkdir(parents=True)
            (place / "secret").write_bytes(b"kept")
            (place / "dir/inner").write_bytes(b"kept")
            (place / "second").hardlink_to(place / "secret")
            (place / "link").symlink_to("secret")
            os.mkfifo(place / "pipe")
        self.lower.mkdir()
        for number, name in enumerate(_USED):
            # For a lower layer they lead into it, wherever they say that they lead.
            (self.lower / name).symlink_to(f"{'../' * (number % 5)}{self.outside}")
        if os.getuid() == 0:
            # What the stranger's layer could not change anyway would prove nothing.
            for path in (self.base, *self.base.rglob("*")):
                os.chown(path, user, user, follow_symlinks=False)
        self.base.chmod(0o755)

    def photograph(self) -> dict[str, tuple[Node, int, int]]:
        """Everything but the roots' content: also inode numbers and the time of the last change of any kind."""
        found = {}
        for place in (self.outside, self.base / "root-evil", self.lower):
            for name, node in read_tree(place).items():
                path = place / os.fsdecode(name)
                seen = path.lstat()
                found[str(path)] = node, seen.st_ino, seen.st_ctime_ns
        for path in self.base.iterdir():
            found.setdefault(str(path), (_NOTHING, 0, 0))
        return found

    def names(self, case: Case) -> set[bytes]:
        """What has to be below the root afterwards, with the directories that lead there."""
        place = os.fsencode(self.outside).lstrip(b"/")
        found = set()
        for name in case.names:
            parts = name.replace(OUT, place).split(b"/")
            found |= {b"/".join(parts[: n + 1]) for n in range(len(parts))}
        return found

    @contextmanager
    def elsewhere(self) -> Iterator[Path]:
        """A place for blobs that is no part of the experiment."""
        with tempfile.TemporaryDirectory() as directory:
            yield Path(directory)

    def remove(self) -> None:
        shutil.rmtree(self.base)


_NOTHING = Node(0, 0, 0, 0, 0, 0, (), "")


@dataclass(frozen=True)
class Outcome:
    """What came of one case."""

    name: str
    verdict: str
    escapes: list[str]
    """Everything outside that is not as it was."""
    problem: str
    """Why the verdict is not what the table says; empty if it is."""


def judge(
    case: Case, ground: Ground, root: Path, result: Unpacked | EngineError, *, is_root: bool
) -> Outcome:
    """Compare a result, and what is there now, with the table."""
    left_out = case.needs_root and not is_root
    if isinstance(result, EngineError):
        verdict, wrong = "refused", not str(result)
        if case.name.startswith("bomb/"):
            wrong = wrong or not isinstance(result, LimitExceeded)
        why = str(result)
    else:
        verdict = "skipped" if result.skipped else "contained"
        tree = read_tree(root)
        found = set(tree) - {b"."}
        expected = ground.names(case)
        wrong = not found <= expected if left_out else found != expected
        marked = sorted(name for name in found if tree[name].xattrs)
        if verdict == "skipped" and marked:
            wrong = True
        why = f"found {sorted(found ^ expected)} more or less, attributes at {marked}"
    if verdict != ("skipped" if left_out else case.verdict):
        wrong = True
    return Outcome(case.name, verdict, [], f"{verdict}, not {case.verdict}: {why}" if wrong else "")


def escapes(before: dict[str, tuple[Node, int, int]], after: dict[str, tuple[Node, int, int]]) -> list[str]:
    return sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))


def in_a_copy(
    cases: list[Case], user: int, *, has_openat2: bool = True, upper: bool = False
) -> list[Outcome]:
    """Try all cases in a process of this user, which has the first wall only, and no chroot.

    An `upper` layer lies on one in which every name is a link that would lead outside.
    """
    load_decoders()  # what is imported late
    "\n".encode("unicode_escape")  # so is this: an ordinary user may not be able to read our Python
    ground = Ground(user)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(read)
            with os.fdopen(write, "w") as answers:
                json.dump(_try_all(cases, ground, user, has_openat2, upper), answers)
        except BaseException as error:
            os.write(2, f"the copy ended with {error!r}\n".encode())
            os._exit(1)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as answers:
        text = answers.read()
    status = os.waitpid(pid, 0)[1]
    ground.remove()
    assert status == 0
    return [Outcome(**outcome) for outcome in json.loads(text)]


def _try_all(
    cases: list[Case], ground: Ground, user: int, has_openat2: bool, upper: bool
) -> list[dict[str, object]]:
    if user != os.getuid():
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    if not has_openat2:
        syscalls.openat2 = _without_openat2
    os.umask(0)
    below = [ground.lower] if upper else []
    return [asdict(_try_one(case, ground, below, is_root=user == 0)) for case in cases]


def _without_openat2(*_: object, **__: object) -> int:
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


def _try_one(case: Case, ground: Ground, below: list[Path], *, is_root: bool) -> Outcome:
    content = case.pack(os.fsencode(ground.outside))
    (root,) = ground.roots
    root.mkdir()
    ground.joint.mkdir()
    # A target that is looked up from where the process stands would be found there (L12).
    os.chdir(ground.outside)
    before, began = ground.photograph(), time.monotonic()
    result: Unpacked | EngineError
    try:
        pieces = (content[n : n + 60_000] for n in range(0, len(content), 60_000))
        rules = UnpackRules(is_root, case.limits)
        result = unpack(plain_blocks(pieces, "abc"), root, rules, joint=ground.joint, below=below)
    except EngineError as error:
        result = error
    took = time.monotonic() - began
    changed = escapes(before, ground.photograph())
    outcome = judge(case, ground, root, result, is_root=is_root)
    base = os.open(ground.base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for used in (root, ground.joint):
        remove_directory(used.name, base)
    os.close(base)
    problem = outcome.problem or ("" if took < 5 else f"it took {took:.1f} s")
    return Outcome(case.name, outcome.verdict, changed, problem)
