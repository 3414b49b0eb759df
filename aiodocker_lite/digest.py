"""A digest as a value: the name of some bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from aiodocker_lite.errors import InvalidManifest

_FORM = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """What some bytes are, such as ``sha256:e3b0…``; build one with `parse` or `of`.

    OCI image specification, descriptor.md, "Digests": the registered algorithms, lower-case
    hexadecimal. Nothing else ever becomes part of a path (CVE-2024-3727).
    """

    algorithm: str
    hex: str

    @classmethod
    def parse(cls, text: object, what: str = "digest") -> Digest:
        """Read ``algorithm:hex``; `what` names the place in the error. Raises InvalidManifest."""
        if not isinstance(text, str) or _FORM.fullmatch(text) is None:
            raise InvalidManifest(what, f"'{text}' is not a digest (sha256:<64 hex digits>)")
        algorithm, _, hexadecimal = text.partition(":")
        return cls(algorithm, hexadecimal)

    @classmethod
    def of(cls, content: bytes) -> Digest:
        """The SHA-256 digest of these bytes."""
        import hashlib

        return cls("sha256", hashlib.sha256(content).hexdigest())

    @property
    def short(self) -> str:
        """The twelve digits that people compare."""
        return self.hex[:12]

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


def chain_ids(diff_ids: Iterable[Digest]) -> list[Digest]:
    """The names of a layer together with all below it, for each from the lowest on.

    OCI image specification, config.md, "Layer ChainID".
    """
    chains: list[Digest] = []
    for diff_id in diff_ids:
        chains.append(Digest.of(f"{chains[-1]} {diff_id}".encode()) if chains else diff_id)
    return chains
