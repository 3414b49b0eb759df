"""What ``--network`` says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from aiodocker_lite.errors import InvalidOption

Kind = Literal["host", "none", "private", "container"]
_PRIVATE = ("private", "bridge", "slirp4netns", "pasta")


@dataclass(frozen=True, slots=True)
class Mode:
    """The network of a container: the host's, none, one of its own, or that of another container."""

    kind: Kind
    container: str = ""
    """Whose, by name or ID."""
    program: str = ""
    """With what, if that was named."""

    @classmethod
    def parse(cls, text: str | None, *, publishes: bool) -> Mode:
        """Read the option; None is the host's, or one of its own where ports are published.

        Raises InvalidOption.
        """
        name, _, container = (text or "").partition(":")
        if not name or name == "default":
            return cls("private" if publishes else "host")
        if name == "container":
            if not container:
                raise InvalidOption("--network", "container: needs the name or ID of a container")
            mode = cls("container", container)
        elif container or name not in ("host", "none", *_PRIVATE):
            raise InvalidOption(
                "--network", f"network {text} not found: it can be host, none, private or container:NAME"
            )
        else:
            mode = (
                cls("private", program=name if name in ("slirp4netns", "pasta") else "")
                if (name in _PRIVATE)
                else cls("host" if name == "host" else "none")
            )
        if publishes and mode.kind not in ("private", "none"):
            raise InvalidOption("--publish", f"with --network {name} a container has no ports of its own")
        return mode
