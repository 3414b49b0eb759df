"""Platforms: what this machine is, and which entry of an index suits it.

OCI image index specification, "platform"; the order of fallbacks is containerd's: an ARM
machine also runs older variants, and arm64 is v8 whether it says so or not.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from aiodocker_lite.errors import InvalidOption

_MACHINES = {
    "x86_64": ("amd64", None),
    "amd64": ("amd64", None),
    "aarch64": ("arm64", "v8"),
    "arm64": ("arm64", "v8"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "i386": ("386", None),
    "i686": ("386", None),
    "x86": ("386", None),
    "ppc64le": ("ppc64le", None),
    "s390x": ("s390x", None),
    "riscv64": ("riscv64", None),
    "loongarch64": ("loong64", None),
    "mips64": ("mips64le", None),
}
_SYSTEMS = {
    "aix", "android", "darwin", "dragonfly", "freebsd", "illumos", "ios", "js", "linux", "netbsd", "openbsd", "plan9",
    "solaris", "wasi", "wasip1", "windows",
}  # fmt: skip
_ARCHITECTURES = {
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le", "riscv64", "s390x",
    "sparc64", "wasm",
}  # fmt: skip
"""Go's names, which images have."""
_PART = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Platform:
    """An operating system and a processor, such as ``linux/arm64/v8``."""

    os: str
    architecture: str
    variant: str | None = None

    @classmethod
    def parse(cls, text: str, option: str = "--platform") -> Platform:
        """Read ``os/arch[/variant]``, or one of the first two, for this machine's other. Raises InvalidOption."""
        parts = text.split("/")
        if not all(_PART.fullmatch(part) for part in parts) or len(parts) > 3:
            raise InvalidOption(option, f"'{text}' is not os/arch[/variant], such as linux/amd64")
        if len(parts) == 1:
            here = cls.here()
            if text.lower() in _SYSTEMS:
                return cls(text.lower(), here.architecture, here.variant)
            parts = [here.os, text]
        system, machine = parts[0].lower(), parts[1].lower()
        architecture, usual = _MACHINES.get(machine, (machine, None))
        if system not in _SYSTEMS or architecture not in _ARCHITECTURES:
            raise InvalidOption(option, f"unknown operating system or architecture in '{text}'")
        variant = parts[2].lower() if len(parts) == 3 else usual
        return cls(system, architecture, variant).normal()

    @classmethod
    def here(cls) -> Platform:
        """The platform of this machine."""
        machine = os.uname().machine
        architecture, variant = _MACHINES.get(machine, (machine, None))
        return cls("linux", architecture, variant).normal()

    def normal(self) -> Platform:
        """The same platform in the one spelling that comparisons use."""
        if self.architecture == "arm64" and self.variant in ("v8", "8", None, ""):
            return Platform(self.os, "arm64", None)
        if self.architecture == "arm" and self.variant in (None, ""):
            return Platform(self.os, "arm", "v7")
        if self.architecture == "amd64" and self.variant == "v1":
            return Platform(self.os, "amd64", None)
        return Platform(self.os, self.architecture, self.variant or None)

    def accepts(self) -> tuple[Platform, ...]:
        """Platforms whose images run here, best first."""
        me = self.normal()
        if me.architecture == "arm" and me.variant in ("v7", "v6"):
            older = [v for v in ("v7", "v6", "v5") if v <= me.variant]
            return tuple(Platform(me.os, "arm", v) for v in older)
        if me.architecture == "amd64" and me.variant in ("v4", "v3", "v2"):
            levels = [v for v in ("v4", "v3", "v2") if v <= me.variant]
            return (*(Platform(me.os, "amd64", v) for v in levels), Platform(me.os, "amd64"))
        return (me,)

    def runs(self, image: Platform) -> bool:
        """A machine of this platform executes an image for that one, or for none, as far as docker knows.

        Docker counts on 32 bits where there are 64; whether they are there, only the kernel can say.
        """
        if not image.architecture or image.normal() in self.accepts():
            return True
        narrow = {"amd64": "386", "arm64": "arm"}.get(self.architecture)
        return image.os == self.os and image.architecture == narrow

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


def best_match(wanted: Platform, offered: Sequence[Platform | None]) -> int | None:
    """The position of the entry that suits `wanted` best, or None; the first of equals wins."""
    for candidate in wanted.accepts():
        for position, platform in enumerate(offered):
            if platform is not None and platform.normal() == candidate:
                return position
    return None
