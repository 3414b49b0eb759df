"""A registry of faults, for tests of whatever talks to registries; README.md has an example.

registry   FakeRegistry: a real server with a script, which remembers what it was asked
faults     what a script is made of: cut, slow, status, damaged, redirected, ...
messages   Reply and Seen, for faults of your own: a fault is a function from Reply to Reply
images     images as values: image(layer({"etc/motd": b"hello"}))
fixtures   for pytest: pytest_plugins = ["aiodocker_lite.testing.fixtures"]
"""

from __future__ import annotations

from aiodocker_lite.testing.faults import (
    Fault,
    answering,
    challenged,
    cut,
    cut_unsaid,
    damaged,
    encoded,
    honest,
    huge,
    late,
    misranged,
    redirected,
    resized,
    slow,
    status,
    together,
    unanswered,
    unranged,
    with_body,
    with_headers,
    with_length,
    with_more,
)
from aiodocker_lite.testing.images import Image, Index, Layer, image, index, layer, layer_of, write_layout
from aiodocker_lite.testing.messages import Exchange, Reply, Seen
from aiodocker_lite.testing.registry import FakeRegistry, Tokens

__all__ = [
    "Exchange",
    "FakeRegistry",
    "Fault",
    "Image",
    "Index",
    "Layer",
    "Reply",
    "Seen",
    "Tokens",
    "answering",
    "challenged",
    "cut",
    "cut_unsaid",
    "damaged",
    "encoded",
    "honest",
    "huge",
    "image",
    "index",
    "late",
    "layer",
    "layer_of",
    "misranged",
    "redirected",
    "resized",
    "slow",
    "status",
    "together",
    "unanswered",
    "unranged",
    "with_body",
    "with_headers",
    "with_length",
    "with_more",
    "write_layout",
]
