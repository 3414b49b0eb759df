"""Layers unpacked in this process, as a worker does it, and joined to the layers below."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from aiodocker_lite.layer.join import Stack, join_layer
from aiodocker_lite.layer.notes import read_notes
from aiodocker_lite.layer.rules import Unpacked, UnpackRules
from aiodocker_lite.layer.unpack import unpack_layer


def unpack(
    blocks: Iterator[bytes],
    root: Path,
    rules: UnpackRules,
    *,
    joint: Path | None = None,
    below: Sequence[Path] = (),
) -> Unpacked:
    """Unpack a layer called abc, and join it to those below, the uppermost first.

    `root` and `joint` are empty directories; without a joint, one is made beside the root.
    """
    if joint is None:
        joint = root.with_name(f"{root.name}.joint")
        joint.mkdir()
    with ExitStack() as stack:
        return unpack_opened(
            blocks,
            _opened(root, stack),
            _opened(joint, stack),
            *(_opened(path, stack) for path in below),
            rules=rules,
        )


def unpack_opened(
    blocks: Iterator[bytes], root: int, joint: int, *below: int, rules: UnpackRules
) -> Unpacked:
    """The same with open directories."""
    notes = io.BytesIO()
    done = unpack_layer(blocks, root, "abc", rules, notes)
    if done.loose_ends:
        notes.seek(0)
        join_layer(Stack(root, read_notes(notes), below), joint, "abc", privileged=rules.privileged)
    return done


def _opened(path: Path, stack: ExitStack) -> int:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    stack.callback(os.close, fd)
    return fd
