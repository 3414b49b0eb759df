"""What is in the store against what it should be: every document, blob and unpacked file of an image.

The blob is the record: each layer is unpacked from it once more, as an outline without content, and
compared (`layer/outline.py`). So one pass checks the blob, its diff ID and all files. Where the blob is not
kept, there is a list of all files (`layer/listing.py`). What is
damaged is set aside: it is not used any more, and the next pull, or `mend.py`, brings it anew.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import anyio
from anyio import to_thread

from aiodocker_lite.bring import Tools, all_of, record_of, staged
from aiodocker_lite.digest import Digest, chain_ids
from aiodocker_lite.errors import (
    ContentError,
    DiskFull,
    EngineError,
    LimitExceeded,
    StoreCorrupt,
    Uncheckable,
    one_error,
)
from aiodocker_lite.layer.pool import Differences, Job, JoinJob, ListJob, Model, notes_of
from aiodocker_lite.layer.rules import Unpacked
from aiodocker_lite.manifest import Descriptor, ImageConfig, Manifest, check_pairs
from aiodocker_lite.store.layers import LayerRecord
from aiodocker_lite.store.locks import hold

_WRONG = "its content is not what its digest says"
_MISSING = "it is missing"
_RECORD = "its record is damaged"
_ASIDE = "it was found damaged before"
_FEW = 3
"""Files whose owners are named one by one."""
_IN_MEMORY_MAX = 100_000
"""Entries of a layer whose outline is kept in memory: about one KiB each."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something that is not as it should be."""

    part: str
    """What it is part of: ``manifest``, ``configuration``, ``blob`` or ``layer``."""
    digest: Digest
    reason: str
    path: str = ""
    """The file of the layer; empty where all of the part is meant."""

    def __str__(self) -> str:
        return ": ".join(filter(None, (f"{self.part} {self.digest.short}", self.path, self.reason)))


class Checker:
    """Checks images, and what they share once."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._store = tools.store
        self._checked: dict[tuple[Descriptor, Digest], list[Flaw]] = {}

    async def check(self, promised: Descriptor) -> list[Flaw]:
        """Everything that is wrong with the image of this manifest. Raises LimitExceeded, StoreError."""
        try:
            manifest, config = await to_thread.run_sync(self._store.images.documents, promised)
        except StoreCorrupt as error:
            return [self._document(promised, error)]
        flaws = list(self._listed_manifest(manifest))
        pairs = dict.fromkeys(check_pairs(manifest, config))
        with one_error():
            async with anyio.create_task_group() as tasks:
                for blob, diff_id in pairs.keys() - self._checked.keys():
                    tasks.start_soon(self._check_layer, blob, diff_id)
        flaws += [flaw for pair in pairs for flaw in self._checked[pair]]
        return flaws or await self._check_joints(config)

    def forget_flaws(self) -> None:
        """What had flaws is checked anew when it is asked for."""
        self._checked = {pair: flaws for pair, flaws in self._checked.items() if not flaws}

    # --- documents ---------------------------------------------------------------------------

    def _document(self, promised: Descriptor, error: StoreCorrupt) -> Flaw:
        """Which of the two documents it is."""
        is_manifest = error.path == str(self._store.paths.blob(promised.digest))
        digest = (
            promised.digest if is_manifest else Digest(Path(error.path).parent.name, Path(error.path).name)
        )
        reason = _WRONG if Path(error.path).exists() else _MISSING
        return Flaw("manifest" if is_manifest else "configuration", digest, reason)

    def _listed_manifest(self, manifest: Manifest) -> Iterator[Flaw]:
        """The OCI manifest of an image that was pulled with one of Docker's."""
        for entry in self._store.images.entries():
            if entry.manifest.digest == manifest.digest != entry.listed.digest:
                try:
                    self._store.images.documents(entry.listed)
                except StoreCorrupt as error:
                    yield self._document(entry.listed, error)
                return

    # --- layers ------------------------------------------------------------------------------

    async def _check_layer(self, blob: Descriptor, diff_id: Digest) -> None:
        async with self._store.bringing(blob.digest, diff_id, lambda: None):
            flaws = await self._layer(blob, diff_id)
            for part, digest in {(flaw.part, flaw.digest) for flaw in flaws}:
                parts = self._store.blobs if part == "blob" else self._store.layers
                await to_thread.run_sync(parts.set_aside, digest)
        self._checked[blob, diff_id] = flaws

    async def _layer(self, blob: Descriptor, diff_id: Digest) -> list[Flaw]:
        store, path = self._store, self._store.paths.blob(blob.digest)
        record = store.layers.find(diff_id)
        has_blob = store.blobs.has(blob.digest, blob.size)
        if not has_blob and (path.exists() or record is None or record.listing is None):
            aside = _ASIDE if store.blobs.is_damaged(blob.digest) else _MISSING
            return [Flaw("blob", blob.digest, _WRONG if path.exists() else aside)]
        if record is not None and record.owners != str(self._tools.owners):
            raise Uncheckable(diff_id.short, "it was unpacked for other user ids than this user has now")
        try:
            if record is not None and record.listing is not None and not has_blob:
                return await self._compare_with_list(record, record.listing)
            if record is not None:
                return await self._compare(blob, record)
            job = self._job(blob, diff_id, None)
            await self._tools.unpackers.unpack(job, all_of(blob), lambda _: None)
        except ContentError as error:
            if isinstance(error, LimitExceeded) or await to_thread.run_sync(_is_sound, path, blob.digest):
                raise  # it cannot be unpacked here and now, and that is not its fault
            return [Flaw("blob", blob.digest, _WRONG)]
        aside = _ASIDE if store.layers.is_set_aside(diff_id) else _MISSING
        reason = _RECORD if store.paths.layer(diff_id).exists() else aside
        return [Flaw("layer", diff_id, reason)]

    async def _compare_with_list(self, record: LayerRecord, listing: Digest) -> list[Flaw]:
        """Compare an unpacked layer whose blob is not kept with what was written down of it."""
        layers, diff_id = self._store.layers, record.diff_id
        job = ListJob(diff_id, layers.files(diff_id), listing)
        flaws = _flaws(diff_id, await self._tools.unpackers.compare_known(job))
        if not flaws:
            await self._renew(record.renewed())
        return flaws

    async def _compare(self, blob: Descriptor, record: LayerRecord) -> list[Flaw]:
        """Compare an unpacked layer with its blob; of one that is as it should be the record is new then."""
        layers, diff_id = self._store.layers, record.diff_id
        stage, unstage = partial(layers.stage, diff_id), partial(layers.unstage, diff_id)
        async with staged(stage, unstage) as staging:
            unpacked, flaws = await self._compare_quickly(blob, record, staging)
            await to_thread.run_sync(unstage)
        if not flaws:
            again = record_of(diff_id, blob.digest, unpacked, self._tools)
            await self._renew(replace(again, listing=record.listing))
        return flaws

    async def _renew(self, record: LayerRecord) -> None:
        with suppress(DiskFull):  # the layer is sound, and only when that was found is not kept
            await to_thread.run_sync(self._store.layers.renew, record)

    async def _compare_quickly(
        self, blob: Descriptor, record: LayerRecord, staging: Path
    ) -> tuple[Unpacked, list[Flaw]]:
        """With an outline: in memory, for on disk, many files made and removed are slow to make again (ext4).

        A file system in memory may have other attributes, and an outline is not always sure: so only
        praise is believed, and else the layer is compared with all of it.
        """
        models: list[Model] = ["outline in memory"] if record.entries <= _IN_MEMORY_MAX else []
        for model in (*models, "outline"):
            try:
                unpacked, flaws = await self._compare_with(blob, record, staging, model)
            except EngineError:
                if model == "outline":
                    raise
            else:
                if not flaws and unpacked.skipped == record.skipped:
                    return unpacked, flaws
                break
        await to_thread.run_sync(partial(self._store.layers.stage, record.diff_id))
        return await self._compare_with(blob, record, staging, "whole")

    async def _compare_with(
        self, blob: Descriptor, record: LayerRecord, staging: Path, model: Model
    ) -> tuple[Unpacked, list[Flaw]]:
        files = self._store.layers.files(record.diff_id)
        job = replace(
            self._job(blob, record.diff_id, staging),
            privileged=self._tools.owners.privileged,
            actual=files,
            model=model,
        )
        unpacked, differences = await self._tools.unpackers.compare(job)
        flaws = _flaws(record.diff_id, differences)
        if not differences.sure:
            flaws.append(Flaw("layer", record.diff_id, "it replaces what it has itself"))
        if (record.loose_ends or record.unapplied) and not await to_thread.run_sync(
            _have_same_lines, notes_of(staging), notes_of(files)
        ):
            flaws.append(Flaw("layer", record.diff_id, "the notes about it are damaged"))
        return unpacked, flaws

    def _job(self, blob: Descriptor, diff_id: Digest, directory: Path | None) -> Job:
        path, limits = self._store.paths.blob(blob.digest), self._tools.settings.limits
        return Job(path, blob.digest, blob.size, diff_id, directory, limits, privileged=False)

    # --- joints ------------------------------------------------------------------------------

    async def _check_joints(self, config: ImageConfig) -> list[Flaw]:
        """Layers that are as they should be, and what joins them to those below."""
        for count in range(1, len(config.diff_ids) + 1):
            diff_ids = config.diff_ids[:count]
            record = self._store.layers.find(diff_ids[-1])
            if record is None or not record.loose_ends:
                continue
            if flaws := await self._joint(diff_ids):
                # Without its joint the layer cannot be used: they go and come together.
                await to_thread.run_sync(self._store.joints.set_aside, chain_ids(diff_ids)[-1])
                await to_thread.run_sync(self._store.layers.set_aside, diff_ids[-1])
                return flaws
        return []

    async def _joint(self, diff_ids: tuple[Digest, ...]) -> list[Flaw]:
        store, (*lower, diff_id) = self._store, diff_ids
        chain = chain_ids(diff_ids)[-1]
        async with hold(store.paths.lock(f"joint-{chain}")):
            lowers = store.directories(lower)
            if lowers is None or not store.joints.has(chain, str(self._tools.owners)):
                reason = _RECORD if store.paths.joint_record(chain).exists() else _MISSING
                return [Flaw("layer", diff_id, f"what joins it to those below: {reason}")]
            stage, unstage = partial(store.joints.stage, chain), partial(store.joints.unstage, chain)
            async with staged(stage, unstage) as joint:
                actual = store.joints.files(chain)
                job = JoinJob(
                    diff_id,
                    store.layers.files(diff_id),
                    tuple(reversed(lowers)),
                    joint,
                    self._tools.owners.privileged,
                    actual,
                )
                if actual is not None:
                    flaws = _flaws(diff_id, await self._tools.unpackers.compare_known(job))
                else:
                    needed = await self._tools.unpackers.join(job)
                    flaws = [Flaw("layer", diff_id, f"what joins it to those below: {_MISSING}")] * needed
                await to_thread.run_sync(unstage)
        return flaws


def _flaws(diff_id: Digest, differences: Differences) -> list[Flaw]:
    """One for each file; and one for all that got the same owner, as when somebody gave the store away."""
    given = Counter(wrong for _, wrong in differences.found if wrong.startswith("its owner is "))
    many = {wrong: count for wrong, count in given.items() if count > _FEW}
    flaws = [
        Flaw("layer", diff_id, f"of {n} files the {wrong.removeprefix('its ')}") for wrong, n in many.items()
    ]
    flaws += [
        Flaw("layer", diff_id, wrong, path or "/") for path, wrong in differences.found if wrong not in many
    ]
    if (more := differences.count - len(differences.found)) > 0:
        flaws.append(Flaw("layer", diff_id, f"and {more} more"))
    return flaws


def _is_sound(path: Path, digest: Digest) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, digest.algorithm).hexdigest() == digest.hex
    except OSError:
        return False


def _have_same_lines(one: Path, other: Path) -> bool:
    """Notes of one layer have no order."""
    try:
        return sorted(one.read_bytes().splitlines()) == sorted(other.read_bytes().splitlines())
    except OSError:
        return False
