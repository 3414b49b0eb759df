"""Twenty images that share bases: what a machine needs before its work starts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from benchmarks.images import Image, entries_of, known_image, large_files, write_layout

NAME = "fleet"
_COUNT = 20
_BASES, _OWN = (40, 20, 20), 4
"""Megabytes."""


def ensure(work: Path, push: Callable[[Path, str], None]) -> Image:
    """Images on one, two or three of the bases: made and pushed, unless they were before."""
    if (known := known_image(work, NAME)) is not None:
        return known
    making = work / "making"
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir()
    try:
        layers = large_files(*_BASES, *[_OWN] * _COUNT)(making)
        bases, own = layers[: len(_BASES)], layers[len(_BASES) :]
        images: list[Image] = []
        sizes: dict[str, int] = {}
        for number, layer in enumerate(own):
            stack = [*bases[: 1 + number % len(bases)], layer]
            made = write_layout(making / f"layout{number}", f"{NAME}-{number}", stack, "gzip")
            blobs = making / f"layout{number}/blobs/sha256"
            sizes |= {blob: (blobs / blob.partition(":")[2]).stat().st_size for blob in made.blobs}
            push(making / f"layout{number}", made.reference)
            shutil.rmtree(making / f"layout{number}")
            images.append(made)
        image = Image(
            NAME,
            images[0].reference,
            "gzip",
            tuple(sizes),
            sum(sizes.values()),
            sum(layer.stat().st_size for layer in layers),
            sum(len(entries_of(layer)) for layer in layers),
            names=tuple(each.reference for each in images),
        )
    finally:
        shutil.rmtree(making)
    (work / f"image-{NAME}.json").write_text(json.dumps(asdict(image)))
    return image
