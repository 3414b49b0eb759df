"""Manifests for whoever asks by name or by digest, the latter also of an image that is not whole yet."""

from __future__ import annotations

import json

from aiodocker_lite.errors import ContentError
from aiodocker_lite.manifest import DOCUMENT_MAX, OCI_MANIFEST, Descriptor, parse_manifest
from aiodocker_lite.reference import Reference
from aiodocker_lite.store.blobs import Blobs
from aiodocker_lite.store.images import Images


def find_manifest(images: Images, blobs: Blobs, asked: Reference) -> tuple[str, bytes] | None:
    """Media type and bytes of a manifest: by its digest, whatever the name, or by tag. None if it is not here.

    Raises StoreCorrupt, StoreUnreadable.
    """
    if asked.digest is None:
        return images.raw_manifest(asked)
    path = blobs.path(asked.digest)
    if path is None or path.stat().st_size > DOCUMENT_MAX:
        return None
    raw = blobs.read(asked.digest)
    try:
        # Most blobs are no JSON at all.
        document = json.loads(raw)
        media_type = str(document.get("mediaType", OCI_MANIFEST))
        parse_manifest(raw, Descriptor(media_type, asked.digest, len(raw)))
    except (ContentError, ValueError, AttributeError, RecursionError):
        return None
    return media_type, raw
