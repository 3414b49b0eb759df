"""Blocks that are made ahead are the same blocks, with the same end."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from aiodocker_lite.errors import InvalidLayer
from aiodocker_lite.layer.ahead import ahead
from tests.fakes.processes import program


def test_blocks_come_in_their_order_and_all_of_them() -> None:
    """And none is no block."""
    blocks = [bytes([n]) for n in range(100)]
    assert list(ahead(iter(blocks))) == blocks
    assert list(ahead(iter([]))) == []


def test_an_error_comes_after_the_blocks_before_it() -> None:
    """As if they were made when they are wanted."""

    def broken() -> Iterator[bytes]:
        yield b"good"
        raise InvalidLayer("0123", "it is truncated")

    blocks = ahead(broken())
    assert next(blocks) == b"good"
    with pytest.raises(InvalidLayer, match="it is truncated"):
        next(blocks)


def test_the_next_blocks_are_made_while_one_is_used_and_not_all() -> None:
    """As many as wait, and the one that finds no place."""
    made = []
    fourth = threading.Event()

    def counted() -> Iterator[bytes]:
        for n in range(10):
            made.append(n)
            if n == 3:
                fourth.set()
            yield bytes([n])

    blocks = ahead(counted())
    next(blocks)
    assert fourth.wait(10)
    assert made == [0, 1, 2, 3]
    assert len(list(blocks)) == 9


def test_without_a_thread_blocks_are_made_when_they_are_wanted() -> None:
    """A machine that has no thread left still unpacks."""
    code = "from aiodocker_lite.layer.ahead import ahead; print(list(ahead(iter([b'a', b'b']))))"
    fails = ["-e", "inject=clone,clone3:error=EAGAIN", sys.executable, "-c", code]
    words = [program("strace"), "-f", "-qq", "-o", os.devnull, *fails]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[b'a', b'b']\n", "")
