"""Volumes: directories that outlive containers, each under its name.

volumes/<name>/data/        what containers see
               users/<id>   an empty file for each container that was given it
               volume.json  when it was made, and its labels; without, it is not there yet
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from aiodocker_lite.errors import InvalidName, NoSuchVolume, StoreUnreadable, VolumeInUse
from aiodocker_lite.mount import VOLUME_NAME
from aiodocker_lite.store.durable import store_errors, write_durably
from aiodocker_lite.store.paths import Paths
from aiodocker_lite.store.trees import remove_tree

_RECORD = "volume.json"


@dataclass(frozen=True, slots=True)
class Volume:
    """One volume."""

    name: str
    path: Path
    """The directory that containers see."""
    created: str
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)


class Volumes:
    """The volumes of a store."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths

    def all(self) -> list[Volume]:
        """Every volume, by name. Raises StoreUnreadable."""
        try:
            names = sorted(os.listdir(self._paths.volumes))  # noqa: PTH208 (names)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreUnreadable(str(self._paths.volumes), error.strerror or str(error)) from error
        return [volume for name in names if (volume := self._read(name)) is not None]

    def find(self, name: str) -> Volume:
        """The volume of this name. Raises NoSuchVolume."""
        found = self._read(name) if VOLUME_NAME.fullmatch(name) else None
        if found is None:
            raise NoSuchVolume(name)
        return found

    def make(self, name: str, labels: Mapping[str, str] | None = None) -> Volume:
        """The volume of this name, made if it is missing. Raises InvalidName, StoreUnwritable."""
        if not VOLUME_NAME.fullmatch(name):
            raise InvalidName("volume", f"'{name}' cannot be the name of a volume")
        found = self._read(name)
        if found is not None:
            return found
        place = self._paths.volumes / name
        with store_errors(place):
            for path, mode in ((place / "users", 0o700), (place / "data", 0o755)):
                path.mkdir(parents=True, exist_ok=True, mode=mode)
                path.chmod(mode)  # in spite of the umask
            self._paths.volumes.chmod(0o700)
        record = {"created": datetime.now(UTC).isoformat(), "labels": dict(labels or {})}
        content = json.dumps(record).encode()
        # Somebody else may make the same one at this moment.
        write_durably(place / _RECORD, content, beside=self._paths.ingests, replace=False)
        return self.find(name)

    def give(self, name: str, container: str) -> Volume:
        """The volume of this name for a container, made if it is missing. Raises StoreUnwritable."""
        volume = self.make(name)
        user = volume.path.with_name("users") / container
        with store_errors(user):
            user.touch()
        return volume

    def users(self, volume: Volume) -> list[str]:
        """The IDs of the containers that have this volume, whether they run or not."""
        found = []
        for user in volume.path.with_name("users").iterdir():
            if (self._paths.containers / user.name / "config.json").exists():
                found.append(user.name)
            else:
                user.unlink(missing_ok=True)
        return sorted(found)

    def remove(self, name: str) -> None:
        """Remove a volume with its content. Raises NoSuchVolume, VolumeInUse, StoreUnwritable."""
        volume = self.find(name)
        if users := self.users(volume):
            raise VolumeInUse(name, ", ".join(user[:12] for user in users))
        place = volume.path.parent
        with store_errors(place):
            (place / _RECORD).unlink(missing_ok=True)
        remove_tree(place)

    def _read(self, name: str) -> Volume | None:
        place = self._paths.volumes / name
        try:
            record = json.loads((place / _RECORD).read_bytes())
            return Volume(name, place / "data", record["created"], record["labels"])
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StoreUnreadable(str(place), error.strerror or str(error)) from error
        except (ValueError, KeyError, TypeError):  # what is in it is still somebody's
            return Volume(name, place / "data", "", {})
