"""Manifests as answers bring them: what the headers promise, and the bytes up to a limit.

OCI distribution specification 1.1, "Pulling manifests".
"""

from __future__ import annotations

from collections.abc import Mapping

from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import (
    DigestMismatch,
    InvalidManifest,
    LimitExceeded,
    RegistryMisbehaved,
    UnsupportedMediaType,
)
from aiodocker_lite.manifest import DOCUMENT_MAX, Descriptor
from aiodocker_lite.reference import Reference
from aiodocker_lite.registry.answers import HTML, media_type_of
from aiodocker_lite.registry.wire import Answer

_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+"


def promise(reference: Reference, answer: Answer) -> Descriptor | None:
    """The descriptor that headers make; None where they do not say enough."""
    media_type = manifest_type(reference, answer)
    length = "" if answer.is_encoded else answer.headers.get("Content-Length", "")
    digest = promised_digest(reference, answer.headers)
    if digest is None or not length.isdecimal():
        return None
    size = int(length)
    if size > DOCUMENT_MAX:
        raise LimitExceeded(f"the size of the manifest for {reference}", DOCUMENT_MAX, size)
    return Descriptor(media_type, digest, size)


def manifest_type(reference: Reference, answer: Answer) -> str:
    """The media type. Raises RegistryMisbehaved for a page, UnsupportedMediaType for schema 1."""
    media_type = media_type_of(answer.headers)
    if media_type in HTML:
        raise RegistryMisbehaved(answer.sender, f"it sent '{media_type}' instead of a manifest")
    if media_type.startswith(_SCHEMA_1):
        raise UnsupportedMediaType(
            f"the manifest for {reference} (pushed by Docker before 1.10; push it again)", "schema 1"
        )
    return media_type


def promised_digest(reference: Reference, headers: Mapping[str, str]) -> Digest | None:
    """The digest of a manifest: the one in the name, else the registry's. Raises DigestMismatch."""
    try:
        claimed = Digest.parse(headers.get("Docker-Content-Digest"))
    except InvalidManifest:
        claimed = None
    wanted = reference.digest
    if wanted is None:
        return claimed
    if claimed is not None and claimed.algorithm == wanted.algorithm and claimed != wanted:
        raise DigestMismatch(f"manifest for {reference}", str(wanted), str(claimed))
    return wanted


async def read_document(answer: Answer, what: str) -> bytes:
    """The bytes. Raises RegistryMisbehaved for a page, LimitExceeded."""
    media_type = media_type_of(answer.headers)
    if media_type in HTML:
        raise RegistryMisbehaved(answer.sender, f"it sent '{media_type}' instead of a manifest")
    raw = await answer.as_stored().read(DOCUMENT_MAX)
    if len(raw) > DOCUMENT_MAX:
        raise LimitExceeded(f"the size of the {what}", DOCUMENT_MAX, len(raw))
    return raw
