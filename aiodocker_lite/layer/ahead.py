"""Blocks made ahead by a thread, while those before them are being used."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from queue import Queue

_MOST = 2
"""Blocks that wait: more would only cost memory."""


def ahead(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The same blocks, and what ends them. Reading, hashing and inflating hold no interpreter lock.

    The thread is begun with the first block; whoever does not come to the end leaves it waiting.
    """
    made: Queue[bytes | BaseException | None] = Queue(_MOST)

    def make() -> None:
        try:
            for block in blocks:
                made.put(block)
        except BaseException as error:  # it is raised where it is waited for
            made.put(error)
        else:
            made.put(None)

    try:
        threading.Thread(target=make, daemon=True).start()
    except RuntimeError:  # there are too many: then each is made when it is wanted
        yield from blocks
        return
    while isinstance(block := made.get(), bytes):
        yield block
    if block is not None:
        raise block
