"""Docker's restart policies: whether a container that has ended is started again, and when."""

from __future__ import annotations

from dataclasses import dataclass

from aiodocker_lite.errors import InvalidOption

_FIRST, _LONGEST = 0.1, 60.0
_STEADY = 10.0
"""Seconds: what ran for so long has not failed at once."""
_NAMES = ("no", "on-failure", "always", "unless-stopped")


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """When a container is started again."""

    name: str = "no"
    most: int = 0
    """How often, with `on-failure`; 0 is without end."""

    @classmethod
    def parse(cls, text: str | None) -> RestartPolicy:
        """Read ``no``, ``on-failure[:N]``, ``always`` or ``unless-stopped``. Raises InvalidOption."""
        if not text:
            return cls()
        name, colon, number = text.partition(":")
        if name not in _NAMES:
            raise InvalidOption("--restart", f"'{name}' is none of {', '.join(_NAMES)}")
        if not colon:
            return cls(name)
        if name != "on-failure":
            raise InvalidOption(
                "--restart", f"maximum retry count cannot be used with restart policy '{name}'"
            )
        if not (number.isascii() and number.isdigit() and len(number) < 10):
            raise InvalidOption("--restart", f"maximum retry count must be an integer, and not '{number}'")
        return cls(name, int(number))

    @property
    def is_none(self) -> bool:
        """What has ended has ended."""
        return self.name == "no"

    def wants(self, code: int, restarts: int) -> bool:
        """Start it again, after this exit code and so many restarts."""
        if self.name == "on-failure":
            return code != 0 and (not self.most or restarts < self.most)
        return not self.is_none


def next_pause(before: float, ran: float) -> float:
    """Seconds to wait, after these the last time and so many of running; 0 is for the first."""
    return _FIRST if not before or ran >= _STEADY else min(before * 2, _LONGEST)
