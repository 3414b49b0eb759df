"""An image as the store has it: what a pull returns and what everything else starts from."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

from aiodocker_lite.digest import Digest
from aiodocker_lite.manifest import ImageConfig, Manifest
from aiodocker_lite.reference import Reference

Verified = Literal["Yes", "Blobs only", "No", "Damaged"]
"""What was checked: blobs and unpacked layers, only the blobs, or not all of them; or what was found."""


@dataclass(frozen=True, slots=True)
class Image:
    """One image for one platform on this machine.

    Of one whose manifest or configuration is damaged only names, digest and platform are known.
    """

    names: tuple[Reference, ...]
    """Every name that leads here, the one that was asked for first; empty for an image without one."""
    manifest: Manifest = field(repr=False)
    config: ImageConfig = field(repr=False)
    pulled_digest: Digest
    """The digest the registry gave for the name: of the index, where there is one."""
    size: int
    """Bytes of all unpacked layers."""
    verified: Verified
    verified_at: str = ""
    """When, in ISO 8601: of its layers the one that was checked first."""

    @property
    def id(self) -> Digest:
        """The digest of the configuration, Docker's image ID."""
        return self.config.digest

    @property
    def name(self) -> str:
        """The first name as people write it, or the short image ID."""
        return self.names[0].familiar if self.names else self.id.short

    def describe(self) -> dict[str, Any]:
        """What `docker image inspect` shows of an image, and what was verified of it."""
        document = json.loads(self.config.raw or b"{}")
        platform = self.config.platform
        repositories = dict.fromkeys(name.familiar_name for name in self.names)
        return {
            "Id": str(self.id),
            "RepoTags": [name.familiar for name in self.names if name.digest is None],
            "RepoDigests": [f"{repository}@{self.pulled_digest}" for repository in repositories],
            "Created": self.config.created,
            "Architecture": platform.architecture,
            "Variant": platform.variant or "",
            "Os": platform.os,
            "Size": self.size,
            "Author": document.get("author", ""),
            "Config": document.get("config") or {},
            "RootFS": {"Type": "layers", "Layers": [str(diff_id) for diff_id in self.config.diff_ids]},
            "Manifest": self.manifest.descriptor.to_json(),
            "Layers": [layer.to_json() for layer in self.manifest.layers],
            "ContentVerified": self.verified,
            "ContentVerifiedAt": self.verified_at,
        }
