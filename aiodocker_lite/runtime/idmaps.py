"""Which ids a container's user namespace has, and whether a user can be had there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol

from anyio import to_thread

from aiodocker_lite import subids
from aiodocker_lite.errors import SetupFailed


class Identity(Protocol):
    """What is needed of a user."""

    @property
    def uid(self) -> int: ...
    @property
    def gid(self) -> int: ...
    @property
    def groups(self) -> tuple[int, ...]: ...
    @property
    def home(self) -> str: ...


async def write_id_maps(pid: int, spec: dict[str, Any]) -> None:
    """Say which ids of this side the namespace of a process has. Raises SetupFailed."""
    process = Path(f"/proc/{pid}")
    uids, gids = rows_of(spec, "uidMappings"), rows_of(spec, "gidMappings")
    try:
        if subids.count_of(gids) == 1:
            # Without privileges, the kernel wants to be sure that no group is left.
            (process / "setgroups").write_text("deny")
        elif os.geteuid() != 0:
            await to_thread.run_sync(subids.write_maps, pid, (uids, gids))
            return
        for name, rows in (("gid_map", gids), ("uid_map", uids)):
            text = "".join(f"{inside} {outside} {count}\n" for inside, outside, count in rows)
            (process / name).write_text(text)
    except OSError as error:
        raise SetupFailed("writing the id maps", error.strerror or str(error)) from error


def rows_of(spec: dict[str, Any], kind: str) -> subids.IdMap:
    return tuple((row["containerID"], row["hostID"], row["size"]) for row in spec["linux"].get(kind, ()))


def need_ids(user: Identity, spec: dict[str, Any]) -> None:
    """Refuse a user whose ids the namespace does not have, with the way to have them (X10)."""
    uids, gids = rows_of(spec, "uidMappings"), rows_of(spec, "gidMappings")
    # In a map of one, groups stay as they are.
    groups = user.groups if subids.count_of(gids) > 1 else ()
    if not uids or (_has(uids, user.uid) and all(_has(gids, group) for group in (user.gid, *groups))):
        return
    if subids.count_of(uids) == subids.count_of(gids) == 1:
        reason = "there are no subordinate ids here, so only user and group 0 can be used"
    else:
        reason = "there are not as many subordinate ids here"
    hint = " (see /etc/subuid and /etc/subgid, and Debian's package uidmap)"
    raise SetupFailed(f"becoming user {user.uid}:{user.gid}", reason + hint)


def _has(rows: subids.IdMap, number: int) -> bool:
    return any(inside <= number < inside + count for inside, _, count in rows)
