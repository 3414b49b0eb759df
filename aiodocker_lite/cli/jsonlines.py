"""Progress for programs: every event as one JSON object a line."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import Any, assert_never

from aiodocker_lite import records
from aiodocker_lite.cli.progress import planned, pulls_left, retrying
from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import EngineError, printable
from aiodocker_lite.events import (
    Event,
    ImageFailed,
    ImagePlanned,
    ImageReady,
    JobProgress,
    LayerDownloaded,
    LayerExists,
    LayerReady,
    LayerStarted,
    LayerUnpacked,
    Notice,
    PlanReady,
    Quota,
    Resolved,
    Retrying,
    Waiting,
)


class Json:
    """One JSON object a line. Names and keys are stable:

    ==================  ==========================================================================
    event               keys beside ``ts`` (RFC 3339, UTC), ``event`` and ``status`` (a sentence)
    ==================  ==========================================================================
    image.resolved      image, digest, platform, layers [{digest, size}]
    layer.started       id, digest, progressDetail {current: bytes kept from before, total}
    layer.exists        id, digest, size
    layer.downloaded    id, digest, progressDetail {current, total}
    layer.unpacked      id, digest, progressDetail {current, total}: compressed bytes
    layer.ready         id, digest, size, entries
    layer.waiting       id, digest: another pull is at work on it
    request.retrying    what, reason, pause (seconds), asked (by Retry-After)
    image.ready         image, digest, fetched (false: it was here already)
    registry.quota      registry, left, limit, window (seconds): how many pulls it still allows
    image.failed        image, error: the slug of the error, and its sentence as status
    image.planned       image, digest, platform, layers [{digest, size}], here (true: nothing to bring)
    plan.ready          images, failed, layers, shared (layers), total, unique, have, disk (bytes)
    job.progress        images, ready, failed: how many
    notice              text
    ==================  ==========================================================================

    `id`, `status` and `progressDetail` are what `docker pull` sends, so what reads that can read this.
    """

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.time) -> None:
        self._say = say
        self._clock = clock

    def __call__(self, event: Event) -> None:
        self._write(*_described(event))

    def failed(self, name: str, error: EngineError) -> None:
        self._write("image.failed", {"status": str(error), "image": printable(name), "error": error.slug})

    def aside(self) -> AbstractContextManager[None]:
        return nullcontext()

    def _write(self, name: str, facts: dict[str, Any]) -> None:
        when = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds")
        self._say(json.dumps({"ts": when.replace("+00:00", "Z"), "event": name, **facts}))


def _described(event: Event) -> tuple[str, dict[str, Any]]:
    match event:
        case Resolved(name, digest, platform, layers):
            return "image.resolved", {
                "status": printable(f"Pulling {name}"),
                "image": printable(name),
                "digest": str(digest),
                "platform": printable(str(platform)),
                "layers": [{"digest": str(layer.digest), "size": layer.size} for layer in layers],
            }
        case LayerStarted(layer, size, have):
            return "layer.started", _layer("Pulling fs layer", layer, have, size)
        case LayerExists(layer, size):
            return "layer.exists", {**_layer("Already exists", layer), "size": size}
        case LayerDownloaded(layer, received, size):
            status = "Downloading" if received < size else "Download complete"
            return "layer.downloaded", _layer(status, layer, received, size)
        case LayerUnpacked(layer, consumed, size):
            return "layer.unpacked", _layer("Extracting", layer, consumed, size)
        case LayerReady(layer, size, entries):
            return "layer.ready", {**_layer("Pull complete", layer), "size": size, "entries": entries}
        case Waiting(layer):
            return "layer.waiting", _layer("Waiting", layer)
        case Retrying(what, reason, pause, asked):
            return "request.retrying", {
                "status": retrying(event),
                "what": printable(what),
                "reason": printable(reason),
                "pause": pause,
                "asked": asked,
            }
        case ImageReady(name, digest, fetched):
            status = "Downloaded newer image for" if fetched else "Image is up to date for"
            return "image.ready", {
                "status": printable(f"Status: {status} {name}"),
                "image": printable(name),
                "digest": str(digest),
                "fetched": fetched,
            }
        case Quota(registry, left, limit, window):
            return "registry.quota", {
                "status": pulls_left(event),
                "registry": printable(registry),
                "left": left,
                "limit": limit,
                "window": window,
            }
        case ImagePlanned(name, digest, platform, layers, here):
            return "image.planned", {
                "status": printable(f"Planned {name}"),
                "image": printable(name),
                "digest": str(digest),
                "platform": printable(str(platform)),
                "layers": [{"digest": str(layer.digest), "size": layer.size} for layer in layers],
                "here": here,
            }
        case PlanReady():
            return "plan.ready", {"status": planned(event), **records.to_json(event)}
        case ImageFailed(name, error, reason):
            return "image.failed", {"status": printable(reason), "image": printable(name), "error": error}
        case JobProgress(images, ready, failed):
            return "job.progress", {
                "status": f"{ready} of {images} images ready",
                "images": images,
                "ready": ready,
                "failed": failed,
            }
        case Notice(text):
            return "notice", {"status": printable(text), "text": printable(text)}
        case _:
            assert_never(event)


def _layer(status: str, layer: Digest, current: int | None = None, total: int = 0) -> dict[str, Any]:
    facts: dict[str, Any] = {"id": layer.short, "status": status, "digest": str(layer)}
    if current is not None:
        facts["progressDetail"] = {"current": current, "total": total}
    return facts
