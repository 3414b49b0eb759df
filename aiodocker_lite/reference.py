"""Image names: from ``alpine`` to ``docker.io/library/alpine:latest``, and back.

The grammar is Docker's (distribution/reference): a first component with a dot, a colon or an
upper-case letter, or the word ``localhost``, is a registry; everything else is on Docker Hub.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import InvalidManifest, InvalidReference

DOCKER_HUB = "docker.io"
_OFFICIAL = "library/"
_HUB_ALIASES = {"index.docker.io", "registry-1.docker.io"}
_NAME_MAX = 255

_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_REGISTRY = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_HEX_64 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Reference:
    """A fully spelled image name: nothing is left to a default.

    `tag` is None only where a digest is given; where both are given, the digest decides.
    """

    registry: str
    repository: str
    tag: str | None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read a name as `docker pull` would. Raises InvalidReference, which says what is wrong."""

        def wrong(reason: str) -> InvalidReference:
            return InvalidReference(text, reason)

        if not text:
            raise wrong("the name is empty")
        if _HEX_64.fullmatch(text):
            raise wrong("a name cannot be 64 hexadecimal digits, that is an image ID")
        _, is_address, address = text.partition("://")
        if is_address:
            raise wrong(f"a name has no scheme; write {address}")
        name, at, digest_text = text.partition("@")
        digest = None
        if at:
            try:
                digest = Digest.parse(digest_text)
            except InvalidManifest:
                raise wrong(f"the digest '{digest_text}' is not of the form sha256:<64 hex digits>") from None
        name, tag = _split_tag(name)
        if tag is not None and not _TAG.fullmatch(tag):
            raise wrong(
                f"the tag '{tag}' must be at most 128 letters, digits, '_', '.' or '-', "
                "and not begin with '.' or '-'"
            )
        registry, repository = _split_registry(name)
        if not _REGISTRY.fullmatch(registry):
            raise wrong(f"the registry '{registry}' is not a host name with an optional port")
        _check_repository(repository, wrong)
        if len(registry) + 1 + len(repository) > _NAME_MAX:
            raise wrong(f"the repository name is longer than {_NAME_MAX} characters")
        if tag is None and digest is None:
            tag = "latest"
        return cls(registry, repository, tag, digest)

    @property
    def name(self) -> str:
        """Registry and repository, such as ``docker.io/library/alpine``."""
        return f"{self.registry}/{self.repository}"

    @property
    def familiar_name(self) -> str:
        """Registry and repository as people write them, such as ``alpine``."""
        if self.registry != DOCKER_HUB:
            return self.name
        short = self.repository.removeprefix(_OFFICIAL)
        return short if "/" not in short else self.repository

    @property
    def familiar(self) -> str:
        """The whole reference as people write it, such as ``alpine:latest``."""
        return self.familiar_name + self._suffix

    @property
    def target(self) -> str:
        """What a registry is asked for: the digest if there is one, else the tag."""
        return str(self.digest) if self.digest else self.tag or "latest"

    def with_digest(self, digest: Digest) -> Reference:
        """The same repository, at exactly this content."""
        return replace(self, tag=None, digest=digest)

    @property
    def as_kept(self) -> Reference:
        """The name that an image has when this was pulled: a tag beside a digest says nothing."""
        return self.with_digest(self.digest) if self.digest else self

    @property
    def _suffix(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{tag}@{self.digest}" if self.digest else tag

    def __str__(self) -> str:
        return self.name + self._suffix


def _split_tag(name: str) -> tuple[str, str | None]:
    head, slash, last = name.rpartition("/")
    last, colon, tag = last.partition(":")
    return head + slash + last, tag if colon else None


def _split_registry(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if slash and (first == "localhost" or any(c in ".:" or c.isupper() for c in first)):
        registry, repository = first, rest
    else:
        registry, repository = DOCKER_HUB, name
    if registry in _HUB_ALIASES:
        registry = DOCKER_HUB
    if registry == DOCKER_HUB and "/" not in repository:
        repository = _OFFICIAL + repository
    return registry, repository


def _check_repository(repository: str, wrong: Callable[[str], InvalidReference]) -> None:
    for component in repository.removeprefix(_OFFICIAL).split("/"):
        if _COMPONENT.fullmatch(component):
            continue
        if not component:
            raise wrong("the repository name has an empty part")
        if component.lower() != component:
            raise wrong(f"the repository name '{component}' must be lower case")
        raise wrong(
            f"the repository name '{component}' may only have lower-case letters and digits, "
            "separated by '.', '_', '__' or '-'"
        )
