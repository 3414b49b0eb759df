"""The map in `aiodocker_lite.__doc__`, checked: who may import whom, and what an import costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import aiodocker_lite

PACKAGE = Path(__file__).parents[1] / "aiodocker_lite"
WORDS = {
    "errors", "digest", "reference", "platforms", "manifest", "verify", "events", "settings", "syscalls", "image",
    "options", "mount", "inflate", "removal", "copying", "subids", "sizes", "spans", "ports", "programs", "records", "wanted",
    "lockfile", "emit", "restart", "plan",
}  # fmt: skip
ROOMS = {
    "registry",
    "fetch",
    "layer",
    "store",
    "archive",
    "snapshot",
    "users",
    "bundle",
    "runtime",
    "network",
    "serve",
    "sources",
    "trace",
}
CONDUCTORS = {
    "host",
    "pull", "prefetch", "look", "quotas", "load", "save", "bring", "gather", "owners", "rootfs", "run", "exec", "connect", "volumes", "remove", "check", "mend", "prune", "fit",
    "monitor", "lifecycle", "transfer",
}  # fmt: skip
MAY_IMPORT = {
    **dict.fromkeys(WORDS, WORDS),
    **{room: WORDS | {room} for room in ROOMS},
    **dict.fromkeys(CONDUCTORS, WORDS | ROOMS | CONDUCTORS),
    "engine": WORDS | ROOMS | CONDUCTORS | {"engine"},
    "cli": WORDS | {"engine", "trace", "cli", "__version__"},
    "testing": WORDS | {"testing"},
}
ONLY_IN = {
    "aiohttp": {"registry", "serve", "testing"},
    "aiohttp_socks": {"registry"},
    "python_socks": {"registry"},
    "yarl": {"registry", "serve"},
    "multidict": {"registry", "serve"},
    "aiofiles": {"store"},
    "typer": {"cli"},
    "rich": {"cli"},
    "uvloop": {"cli"},
    "yaml": {"sources"},
    "isal": {"inflate"},
    "backports": {"inflate", "testing"},
    "compression": {"inflate", "testing"},
    "pytest": {"testing"},
    "anyio": ROOMS | CONDUCTORS | {"engine", "cli", "testing"},
}
OFF_THE_LOOP = WORDS | {"layer", "archive", "users", "bundle", "snapshot", "sources", "trace"}
"""Pure or blocking: no event loop. In runtime/, what the child imports."""
ON_THE_LOOP = {"layer/pool.py"}
CHILD = {f"runtime/{path.name}" for path in (PACKAGE / "runtime").glob("*.py")} - {
    "runtime/conversation.py",
    "runtime/idmaps.py",
    "runtime/launch.py",
    "runtime/oci.py",
    "runtime/process.py",
    "runtime/terminal.py",
}
BANNED_NAMES = {"utils", "util", "helpers", "common", "misc", "base", "manager", "core", "types"}


def modules() -> list[Path]:
    return sorted(p for p in PACKAGE.rglob("*.py") if p.parent != PACKAGE or not p.name.startswith("__"))


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(tree: ast.AST, *, at_run_time: bool = False) -> Iterator[tuple[str, str]]:
    """("ours", room) or ("theirs", package) for every import, lazy ones too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative imports hide where an arrow points"
            found = [[*(node.module or "").split("."), alias.name] for alias in node.names]
        else:
            continue
        for parts in found:
            yield ("ours", parts[1]) if parts[0] == "aiodocker_lite" else ("theirs", parts[0])


def without_type_checking(tree: ast.Module) -> ast.Module:
    """The module without what only a type checker reads: a name is not a dependency."""
    tree.body = [
        node
        for node in tree.body
        if not (
            isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        )
    ]
    return tree


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_point_one_way(path: Path) -> None:
    """A word imports words; a room imports words and itself; only conductors know rooms."""
    room = room_of(path)
    for whose, name in imports(without_type_checking(ast.parse(path.read_text()))):
        if whose == "ours":
            assert name in MAY_IMPORT[room], f"{path} may not import {name}"
        else:
            assert room in ONLY_IN.get(name, {room}), f"{name} belongs to {ONLY_IN[name]}"


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_blocking_code_stays_off_the_loop(path: Path) -> None:
    """What a worker or a container's first process imports never loads an event loop."""
    if name_of(path) in ON_THE_LOOP or not {name_of(path), room_of(path)} & (OFF_THE_LOOP | CHILD):
        return
    assert not {"asyncio", "anyio"} & {name for _, name in imports(ast.parse(path.read_text()))}


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_rooms_have_names_and_say_what_may_live_there(path: Path) -> None:
    """No file is called after what it is not about, and each begins with a sentence."""
    assert path.stem not in BANNED_NAMES
    assert ast.get_docstring(ast.parse(path.read_text())), f"{path} does not say what it is"


def test_the_map_has_every_room() -> None:
    """The package's docstring names each word, room and conductor."""
    text = aiodocker_lite.__doc__ or ""
    missing = [room for room in sorted({room_of(path) for path in modules()}) if room not in text]
    assert missing == []


def loaded_by(code: str) -> set[str]:
    """Which modules a fresh interpreter has loaded after this code."""
    script = f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r})\n{code}\nprint(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(run.stdout.splitlines()[-1].split())


def test_importing_the_package_is_free() -> None:
    """`import aiodocker_lite` brings in neither the network stack nor the event loop."""
    heavy = {"aiohttp", "asyncio", "anyio", "typer", "rich", "json", "yaml"}
    assert not loaded_by("import aiodocker_lite") & heavy


def test_a_worker_loads_only_what_it_needs() -> None:
    """A worker process starts with the standard library and the decompressors."""
    heavy = {"asyncio", "anyio", "aiohttp", "aiofiles", "typer", "rich", "subprocess", "socket", "email"}
    assert not loaded_by("import aiodocker_lite.layer.worker") & heavy
