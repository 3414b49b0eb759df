"""What the library says of calls that make no sense, before anything is done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from aiodocker_lite import Engine, Settings
from aiodocker_lite.errors import EngineNotOpen, InvalidOption, NoSuchImage
from aiodocker_lite.events import Event
from tests.fakes.processes import children

Call = Callable[[Engine], Awaitable[Any]]


async def watch(event: Event) -> None:
    """Nobody would await this."""


class Watcher:
    """Nor this."""

    async def __call__(self, event: Event) -> None: ...


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """An engine that nobody has opened."""
    return Engine(Settings(root=tmp_path / "store"))


CALLS: dict[str, Call] = {
    "pull": lambda engine: engine.pull("localhost:1/x"),
    "load": lambda engine: engine.load("x.tar"),
    "images": lambda engine: engine.images(),
    "image": lambda engine: engine.image("x"),
    "tag": lambda engine: engine.tag("x", "y"),
    "remove": lambda engine: engine.remove("x"),
    "run": lambda engine: engine.run("x"),
    "start": lambda engine: AsyncExitStack().enter_async_context(engine.start("x")),
    "serve": lambda engine: AsyncExitStack().enter_async_context(engine.serve()),
    "containers": lambda engine: engine.containers(),
    "remove_container": lambda engine: engine.remove_container("x"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_an_engine_that_is_not_open_says_so(engine: Engine, call: Call) -> None:
    """Before its block and after it; and after it nothing is started that nobody would end."""
    with pytest.raises(EngineNotOpen, match=r"^the engine is not open; "):
        await call(engine)
    async with engine:
        assert await engine.images() == []
    before = children()
    with pytest.raises(EngineNotOpen):
        await call(engine)
    assert children() == before


WRONG: dict[str, tuple[Call, str]] = {
    "an image of None": (lambda engine: engine.pull(None), "image: None is not a string"),  # type: ignore[arg-type]
    "an image by number": (lambda engine: engine.image(5), "image: 5 is not a string"),  # type: ignore[arg-type]
    "a run of None": (lambda engine: engine.run(None), "image: None is not a string"),  # type: ignore[arg-type]
    "a tag of None": (lambda engine: engine.tag(None, "x"), "image: None is not a string"),  # type: ignore[arg-type]
    "a removal of None": (lambda engine: engine.remove(None), "image: None is not a string"),  # type: ignore[arg-type]
    "a container of None": (
        lambda engine: engine.remove_container(None),  # type: ignore[arg-type]
        "container: None is not a string",
    ),
    "an archive of None": (
        lambda engine: engine.load(None),  # type: ignore[arg-type]
        "archive: None is neither a path nor an open file",
    ),
    "a platform by number": (
        lambda engine: engine.pull("x", platform=5),  # type: ignore[arg-type]
        "platform: 5 is not a string",
    ),
    "a command as text": (
        lambda engine: engine.run("x", "echo hi"),
        r"command: 'echo hi' is not a list of words, such as \['echo', 'hi'\]",
    ),
    "input as text": (lambda engine: engine.run("x", input="text"), "input: it is not bytes"),  # type: ignore[arg-type]
    "a password of None": (
        lambda engine: engine.login("localhost:1", "user", None),  # type: ignore[arg-type]
        "password: None is not a string",
    ),
}


@pytest.mark.parametrize(("call", "sentence"), WRONG.values(), ids=WRONG)
async def test_arguments_of_another_type_are_one_sentence(engine: Engine, call: Call, sentence: str) -> None:
    """In the tree of our errors, with the name of the argument."""
    async with engine:
        with pytest.raises(InvalidOption, match=f"^invalid value for {sentence}$"):
            await call(engine)


@pytest.mark.parametrize("progress", [watch, Watcher(), None, 5])
@pytest.mark.parametrize("verb", ["pull", "load", "run", "find_or_pull"])
async def test_a_progress_that_nobody_would_await_is_refused(
    engine: Engine, verb: str, progress: Any
) -> None:
    """An async callback would be called, and nothing of it would happen."""
    async with engine:
        with pytest.raises(InvalidOption, match=r"^invalid value for progress: "):
            await getattr(engine, verb)("x", progress=progress)


async def test_an_engine_can_be_opened_again(tmp_path: Path) -> None:
    """It is the same as another one; and its store may be given as text."""
    engine = Engine(Settings(root=str(tmp_path / "store")))  # type: ignore[arg-type]
    for _ in range(2):
        async with engine:
            with pytest.raises(NoSuchImage):
                await engine.image("x")
