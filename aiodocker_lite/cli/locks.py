"""The lock file of `prefetch`: read, compared with what is there now, and written."""

from __future__ import annotations

from pathlib import Path

from aiodocker_lite.cli import exits
from aiodocker_lite.cli.options import unwritable
from aiodocker_lite.engine.sources import locked
from aiodocker_lite.errors import InvalidOption, printable
from aiodocker_lite.lockfile import Change, Locked, difference, dump, parse
from aiodocker_lite.plan import Plan
from aiodocker_lite.reference import Reference
from aiodocker_lite.sizes import counted, human_size

_SHOWN = 20


def read_lock(option: str, file: Path) -> tuple[Locked, ...]:
    """The images of a lock. Raises InvalidOption, InvalidSource."""
    try:
        return parse(file.read_text(), str(file))
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidOption(option, f"'{file}' cannot be read: {reason}") from error


def update_lock(file: Path, plan: Plan, *, writes: bool) -> None:
    """Say what has changed since a lock was written, and write it anew, unless something could not be had.

    Raises InvalidOption, InvalidSource.
    """
    now = locked(plan)
    if file.exists():
        _tell(file, read_lock("--lock", file), now)
    if not writes:
        return
    if plan.failures:
        exits.say(f"{file} is not written, for not all images could be had")
        return
    try:
        file.write_text(dump(now))
    except OSError as error:
        raise unwritable("--lock", file, error.strerror) from error


def _tell(file: Path, old: tuple[Locked, ...], new: list[Locked]) -> None:
    found = difference(old, new)
    for change in found.changes[:_SHOWN]:
        exits.say(_line(change))
    if len(found.changes) > _SHOWN:
        exits.say(f"and {len(found.changes) - _SHOWN} more")
    if found.changes:
        changed = f"{counted(len(found.changes), 'image')} changed"
        exits.say(f"{file}: {changed}, {human_size(found.fetch, 3)} of new layers")
    else:
        exits.say(f"{file}: nothing has changed")


def _line(change: Change) -> str:
    name = f"{Reference.parse(change.name).familiar} ({change.platform})"
    before, after = (digest and digest.split(":")[1][:12] for digest in (change.before, change.after))
    if before and after:
        what = f"{before} is now {after}, {human_size(change.fetch, 3)} of new layers"
    else:
        what = f"new, {human_size(change.fetch, 3)} of new layers" if after else "not wanted any more"
    return printable(f"{name}: {what}")
