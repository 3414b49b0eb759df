"""Every fault at every request, images that lie, and disks that fail.

One sentence and the right class each time; what was in the store stays as it was; and the same
pull succeeds when the trouble is over.
"""

from __future__ import annotations

import gzip
import json
import lzma
import os
import re
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from aiodocker_lite import Engine, Settings
from aiodocker_lite.errors import (
    AccessDenied,
    BlobNotFound,
    DigestMismatch,
    DiskFull,
    DoesNotFit,
    EngineError,
    ImageNotFound,
    InvalidLayer,
    InvalidManifest,
    LimitExceeded,
    PlatformNotFound,
    RateLimited,
    RegistryMisbehaved,
    RegistryUnavailable,
    RegistryUnreachable,
    SizeMismatch,
    StoreError,
    StoreUnwritable,
    UnsafeEntry,
    UnsupportedCompression,
    UnsupportedMediaType,
)
from aiodocker_lite.events import Event, Retrying
from aiodocker_lite.manifest import OCI_LAYER
from aiodocker_lite.platforms import Platform
from aiodocker_lite.settings import Limits
from aiodocker_lite.testing.faults import (
    Fault,
    answering,
    cut,
    cut_unsaid,
    redirected,
    status,
    unranged,
    with_body,
    with_headers,
)
from aiodocker_lite.testing.images import Blob, Image, Layer, compress, image, index, layer, layer_of, noise
from aiodocker_lite.testing.messages import Reply
from aiodocker_lite.testing.registry import FakeRegistry
from tests.cases.faults import is_one_sentence
from tests.fakes.stores import flaws, layer_files, visible
from tests.fakes.tars import END, file, symlink
from tests.pipeline.conftest import Disk

HERE = str(Platform.here())
ELSEWHERE = "linux/riscv64"
BASE = layer({"base/": b"", "base/data": noise(60_000, "base")})
TOP = layer({"top": noise(300_000, "top")})
SIZE = len(TOP.raw)
APP = image(BASE, TOP, platform=HERE)
INDEX = index(APP, image(layer({"other": b""}), platform=ELSEWHERE), attestation=True)
OLD = image(BASE, layer({"old": b"old"}), platform=HERE)
FILES = {"base/data": noise(60_000, "base"), "top": noise(300_000, "top"), "old": b"old"}
FOREVER = 50


@dataclass
class Scene:
    """A registry with two images, and a store that has the older one and not the other."""

    registry: FakeRegistry
    engine: Engine

    @property
    def name(self) -> str:
        return f"{self.registry.address}/app"

    @property
    def root(self) -> Path:
        return self.engine.settings.root

    async def refuses(self, kind: type[EngineError], sentence: str, name: str = "") -> EngineError:
        """The pull fails with this error, in one sentence, and changes nothing that can be seen."""
        before, index_before = visible(self.root), (self.root / "index.json").read_bytes()
        with pytest.raises(kind) as caught:
            await self.engine.pull(name or self.name)
        text = str(caught.value)
        assert type(caught.value) is kind
        assert re.search(sentence, text), text
        assert is_one_sentence(text)
        assert caught.value.exit_code == 1
        assert (self.root / "index.json").read_bytes() == index_before
        assert {path: visible(self.root)[path] for path in before} == before
        assert flaws(self.root) == []
        (old,) = [each for each in await self.engine.images() if each.id == OLD.config.digest]
        assert old.verified == "Yes"
        return caught.value

    async def recovers(self) -> None:
        """The same pull succeeds now that the registry is honest, and leaves nothing behind."""
        self.registry.forget()
        await self.succeeds()

    async def succeeds(self) -> list[Event]:
        events: list[Event] = []
        found = await self.engine.pull(self.name, progress=events.append)
        assert (found.id, found.verified) == (APP.config.digest, "Yes")
        assert layer_files(self.root) == FILES
        assert flaws(self.root) == []
        assert list((self.root / "ingest").iterdir()) == []
        return events

    def asked(self, part: str) -> list[str]:
        """The ranges of the requests for one part, in order; "" for all of it."""
        method, path = PARTS[part]
        return [seen.headers.get("Range", "") for seen in self.registry.asked(method, path)]

    def script(self, part: str, *faults: Fault) -> None:
        method, path = PARTS[part]
        self.registry.script(method, path, *faults)


@pytest.fixture(scope="module")
async def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the older image."""
    root = tmp_path_factory.mktemp("prepared") / "store"
    async with FakeRegistry() as registry, Engine(Settings(root=root)) as engine:
        registry.add("old", "latest", OLD)
        await engine.pull(f"{registry.address}/old")
    return root


@pytest.fixture
async def scene(settings: Settings, prepared: Path) -> AsyncIterator[Scene]:
    """Honest until a test scripts it."""
    shutil.copytree(prepared, settings.root, dirs_exist_ok=True)
    async with FakeRegistry() as registry, Engine(replace(settings, workers=1)) as engine:
        registry.add("app", "latest", INDEX)
        yield Scene(registry, engine)


# --- every fault at every request --------------------------------------------------------------

PARTS = {
    "name": ("HEAD", "/manifests/latest"),
    "index": ("GET", f"/manifests/{INDEX.top.digest}"),
    "manifest": ("GET", f"/manifests/{APP.manifest.digest}"),
    "config": ("GET", f"/blobs/{APP.config.digest}"),
    "layer": ("GET", f"/blobs/{TOP.digest}"),
}
DOCUMENTS = ("index", "manifest")
BLOBS = ("config", "layer")


def changed(change: Callable[[bytes], bytes], **more: object) -> Fault:
    """The honest answer with another body."""
    return lambda reply: replace(reply, body=change(reply.body), **more)  # type: ignore[arg-type]


def with_one_bit_flipped(body: bytes) -> bytes:
    """In the tenth byte: of a gzip header it says on which system it was made."""
    return body[:9] + bytes([body[9] ^ 1]) + body[10:]


HTML = with_body(b"<html>please log in</html>")
HTML_OF_THIS_LENGTH = changed(lambda body: b"<" * len(body), headers={"Content-Type": "text/html"})
JSON_ERROR = with_body(b'{"errors":[{"code":"DENIED"}]}', "application/json")
ENCODED = changed(gzip.compress, headers={"Content-Encoding": "gzip"})
DENIED = r"^pull access denied for localhost:\d+/app.*\(credentials used: anonymous\)$"
NO_REGISTRY = r"^localhost:\d+ does not answer like a registry: "
FAILED = r"^localhost:\d+ failed: "
WRONG_SIZE = r" has the wrong size: expected \d+ bytes, got \d+; nothing was stored$"
WRONG_CONTENT = r" has the wrong content: expected sha256:\w{64}, got sha256:\w{64}; nothing was stored$"
Expected = tuple[tuple[str, ...], type[EngineError], str]

FAULTS: dict[str, tuple[Fault, *tuple[Expected, ...]]] = {
    "404": (
        status(404),
        (("name",), ImageNotFound, r"^manifest for localhost:\d+/app:latest not found"),
        (DOCUMENTS, ImageNotFound, r"^manifest for localhost:\d+/app@sha256:\w+ not found"),
        (BLOBS, BlobNotFound, "is not complete in its registry: blob sha256:"),
    ),
    "401": (status(401), (tuple(PARTS), AccessDenied, DENIED)),
    "403": (status(403), (tuple(part for part in PARTS if part != "name"), AccessDenied, DENIED)),
    "418": (status(418), (tuple(PARTS), RegistryMisbehaved, NO_REGISTRY + "it answered 418")),
    "429": (status(429), (tuple(PARTS), RateLimited, r"^localhost:\d+ limits the number of pulls: ")),
    "500": (status(500), (tuple(PARTS), RegistryUnavailable, FAILED + "it answered 500")),
    "503": (
        status(503, Retry_After="0"),
        (tuple(PARTS), RegistryUnavailable, FAILED + "it answered 503"),
    ),
    "416": (status(416), (("layer",), RegistryMisbehaved, NO_REGISTRY + "it answered 416")),
    "redirect to nowhere": (
        status(301),
        (("name", "layer"), RegistryMisbehaved, NO_REGISTRY + "it answered 301"),
    ),
    "redirect to itself": (
        redirected("?again"),
        (("name", "manifest", "layer"), RegistryMisbehaved, NO_REGISTRY + "it redirects more than 10 times"),
    ),
    "redirect to a file": (
        redirected("file:///etc/passwd"),
        (("name", "layer"), RegistryMisbehaved, NO_REGISTRY + "it redirects to"),
    ),
    "redirect to a closed port": (
        redirected("http://127.0.0.1:1/"),
        (
            ("name", "index", "config", "layer"),
            RegistryUnreachable,
            r"where localhost:\d+ sends us\): connection refused",
        ),
    ),
    "a login page": (
        HTML,
        (("name", *DOCUMENTS), RegistryMisbehaved, NO_REGISTRY + "it sent 'text/html' instead of a manifest"),
        (BLOBS, RegistryMisbehaved, NO_REGISTRY + "it sent 'text/html' instead of a blob"),
    ),
    "a page of the right length": (
        HTML_OF_THIS_LENGTH,
        (DOCUMENTS, RegistryMisbehaved, "it sent 'text/html'"),
        (("config",), DigestMismatch, WRONG_CONTENT),
        (("layer",), InvalidLayer, "cannot be unpacked: it is not a tar archive"),
    ),
    "an error with status 200": (JSON_ERROR, ((*DOCUMENTS, *BLOBS), SizeMismatch, WRONG_SIZE)),
    "one bit": (changed(with_one_bit_flipped), ((*DOCUMENTS, *BLOBS), DigestMismatch, WRONG_CONTENT)),
    "one byte too few": (changed(lambda body: body[:-1]), ((*DOCUMENTS, *BLOBS), SizeMismatch, WRONG_SIZE)),
    "one byte too many": (
        changed(lambda body: body + b" "),
        ((*DOCUMENTS, *BLOBS), SizeMismatch, WRONG_SIZE),
    ),
    "one byte too few, unsaid": (
        changed(lambda body: body[:-1], length="chunked"),
        (DOCUMENTS, SizeMismatch, WRONG_SIZE),
        (BLOBS, RegistryUnavailable, FAILED + "the connection ended 1 bytes early"),
    ),
    "one byte too many, unsaid": (
        changed(lambda body: body + b" ", length="chunked"),
        ((*DOCUMENTS, *BLOBS), SizeMismatch, WRONG_SIZE),
    ),
    "nothing, and closed": (
        cut(0),
        ((*DOCUMENTS, *BLOBS), RegistryUnavailable, FAILED + "the connection was cut"),
    ),
    "nothing, and reset": (
        cut(0, "reset"),
        ((*DOCUMENTS, *BLOBS), RegistryUnavailable, FAILED + "the connection was cut"),
    ),
}


@pytest.mark.parametrize(("fault", "expectations"), [(f, e) for f, *e in FAULTS.values()], ids=FAULTS)
async def test_a_fault_that_lasts_is_one_sentence_and_changes_nothing(
    scene: Scene, fault: Fault, expectations: list[Expected]
) -> None:
    """At one request after the other; asked again only where that may help, as often as there are pauses."""
    for parts, kind, sentence in expectations:
        for part in parts:
            scene.script(part, *[fault] * FOREVER)
            await scene.refuses(kind, sentence)
            if "redirect" not in sentence and "416" not in sentence:
                tries = len(scene.engine.settings.pauses) + 1 if kind.retryable else 1
                assert len(scene.asked(part)) == tries, part
            scene.registry.forget()
    await scene.succeeds()


SHORT_TROUBLE = {
    "429": (status(429), tuple(PARTS)),
    "429, with a pause that is over": (status(429, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"), ("layer",)),
    "408": (status(408), ("layer",)),
    "500": (status(500), tuple(PARTS)),
    "502": (status(502), ("layer",)),
    "503, with an odd pause": (status(503, Retry_After="-1"), ("name", "layer")),
    "closed": (cut(200), ("manifest", *BLOBS)),
    "reset": (cut(200, "reset"), ("manifest", *BLOBS)),
    "ended without a word": (cut_unsaid(200), BLOBS),
}


@pytest.mark.parametrize(("fault", "parts"), SHORT_TROUBLE.values(), ids=SHORT_TROUBLE)
async def test_a_fault_that_passes_is_waited_out(scene: Scene, fault: Fault, parts: tuple[str, ...]) -> None:
    """Two at each request; whoever watches hears why; and no byte of the layer is fetched twice."""
    for part in parts:
        scene.script(part, fault, fault)
    events = await scene.succeeds()

    assert len([event for event in events if isinstance(event, Retrying)]) == 2 * len(parts)
    for part in parts:
        assert len(scene.asked(part)) == 3, part
    kept = 200 if fault(Reply(200, bytes(1000))).status == 200 else 0
    if "layer" in parts:
        assert scene.asked("layer") == [f"bytes={kept * n}-" if kept * n else "" for n in range(3)]


async def test_what_was_compressed_on_the_way_is_undone(scene: Scene) -> None:
    """R22: by a cache that was not asked to, at every request."""
    for part in PARTS:
        scene.script(part, ENCODED)
    await scene.succeeds()


async def test_a_server_that_falls_silent_is_left(scene: Scene, tmp_path: Path) -> None:
    """After the idle timeout; what it had sent until then is kept."""
    impatient = replace(scene.engine.settings, idle_timeout=0.2)
    for part in ("manifest", "config", "layer"):
        scene.script(part, cut(100, "stall"))
    async with Engine(impatient) as engine:
        await Scene(scene.registry, engine).succeeds()
    assert scene.asked("layer") == ["", "bytes=100-"]


# --- names, hosts and credentials --------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("app:none", r"^manifest for localhost:\d+/app:none not found: manifest_unknown: manifest unknown$"),
        ("none", r"^manifest for localhost:\d+/none:latest not found"),
        (f"app@{BASE.digest}", r"^manifest for localhost:\d+/app@sha256:\w{64} not found"),
    ],
)
async def test_an_image_that_nobody_has(scene: Scene, name: str, sentence: str) -> None:
    """The sentence names it as it was asked for."""
    await scene.refuses(ImageNotFound, "manifest for", f"{scene.registry.address}/{name}")


@pytest.mark.parametrize("known", [False, True], ids=["anonymous", "wrong"])
async def test_credentials_that_are_refused(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    """The sentence says which ones were used, and never what they are."""
    scene.registry.challenge_basic("alice", "right")
    source = "anonymous"
    if known:
        auths = {scene.registry.address: {"auth": "YWxpY2U6c2VjcmV0LXdyb25n"}}
        (tmp_path / "config.json").write_text(json.dumps({"auths": auths}))
        source = r"config\.json"
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    await scene.refuses(AccessDenied, rf"\(credentials used: .*{source}")
    assert "c2VjcmV0" not in str(scene.registry.requests[0].headers)
    scene.registry.challenge = None
    await scene.recovers()


async def test_a_closed_port(scene: Scene) -> None:
    """Nobody there is worth no second try."""
    async with FakeRegistry() as gone:
        name = f"{gone.address}/app"
    await scene.refuses(RegistryUnreachable, r"^cannot reach localhost:\d+: connection refused$", name)


async def test_a_host_that_does_not_exist(scene: Scene) -> None:
    """RFC 2606 keeps the name free for this."""
    await scene.refuses(RegistryUnreachable, "^cannot reach registry.invalid: ", "registry.invalid/app")


async def test_another_image_than_the_digest_in_the_name(scene: Scene) -> None:
    """The name decides, whatever the registry claims."""
    other = Reply(200, OLD.manifest.raw, {"Content-Type": OLD.top.media_type})
    scene.registry.script("", f"/manifests/{APP.manifest.digest}", *[answering(other)] * FOREVER)
    name = f"{scene.name}@{APP.manifest.digest}"
    await scene.refuses(DigestMismatch, r"^manifest \w{12}" + WRONG_CONTENT, name)
    await scene.recovers()


# --- images that lie ---------------------------------------------------------------------------


def of(manifest: bytes, like: Image = APP) -> Image:
    """An image whose manifest is these bytes."""
    return Image(Blob(like.manifest.media_type, manifest), like.config, like.layers, like.platform)


def edited(**changes: object) -> Image:
    return of(json.dumps({**json.loads(APP.manifest.raw), **changes}).encode())


def lying(what: Layer, diff_id: Layer = BASE) -> Layer:
    """A layer that says it unpacks to what another one does."""
    return Layer(what.media_type, what.raw, diff_id.diff_id)


def unusual(raw: bytes, tar: bytes, media_type: str = OCI_LAYER) -> Layer:
    """A layer that was compressed in another way."""
    return Layer(media_type, raw, layer_of(tar, "plain").diff_id)


PLAIN = file(b"a", b"content") + END
HOSTILE = file(b"../../etc/passwd", b"root::0:0") + END
THROUGH_A_LINK = symlink(b"a", b"../../../etc") + file(b"a/../../b") + END
LIES: dict[str, tuple[Image, type[EngineError], str]] = {
    "another diff ID": (
        image(BASE, lying(TOP)),
        DigestMismatch,
        r"^the uncompressed layer \w{12}" + WRONG_CONTENT,
    ),
    "fewer diff IDs": (
        edited(layers=[each.descriptor.to_json() for each in (BASE, TOP, BASE)]),
        InvalidManifest,
        r"^manifest \w{12} is not valid: it has 3 layers, and its configuration 2 diff IDs$",
    ),
    "xz": (
        image(unusual(lzma.compress(PLAIN), PLAIN)),
        UnsupportedCompression,
        "is compressed with xz, which is not supported$",
    ),
    "a media type of layers that nobody knows": (
        image(unusual(PLAIN, PLAIN, "application/vnd.example")),
        UnsupportedMediaType,
        "'application/vnd.example', which is not supported$",
    ),
    "a name that leads out": (
        image(layer_of(HOSTILE)),
        UnsafeEntry,
        r"^layer \w{12}: refusing entry '../../etc/passwd': ",
    ),
    "a name that leads out through a link": (
        image(layer_of(THROUGH_A_LINK)),
        UnsafeEntry,
        r"^layer \w{12}: refusing entry 'a/../../b': ",
    ),
    "half a tar": (
        image(layer_of(PLAIN[:600])),
        InvalidLayer,
        r"^layer \w{12} cannot be unpacked: .*end",
    ),
    "half a gzip": (
        image(unusual(compress(PLAIN, "gzip")[:-9], PLAIN)),
        InvalidLayer,
        r"^layer \w{12} cannot be unpacked: .*its gzip data ends too early$",
    ),
    "no tar at all": (
        image(layer_of(b"%PDF-1.4" * 100)),
        InvalidLayer,
        r"^layer \w{12} cannot be unpacked: it is not a tar archive",
    ),
    "no JSON": (of(b"\0" * 100), InvalidManifest, r"^manifest \w{12} is not valid: it is not JSON"),
    "JSON without end": (of(b"[" * 100_000), InvalidManifest, "it is not JSON"),
    "a config that is no configuration": (
        of(APP.manifest.raw.replace(b"image.config.v1", b"empty.v1")),
        UnsupportedMediaType,
        "is not a container image",
    ),
    "a negative size": (
        of(APP.manifest.raw.replace(b'"size": ', b'"size": -', 1)),
        InvalidManifest,
        "its size is '-",
    ),
    "a digest that is a path": (
        of(APP.manifest.raw.replace(str(TOP.digest).encode(), b"sha256:../../../etc/passwd")),
        InvalidManifest,
        "'sha256:../../../etc/passwd' is not a digest",
    ),
    "schema 1": (of(b'{"schemaVersion": 1, "fsLayers": []}'), UnsupportedMediaType, "schema 1"),
    "both layers and manifests": (edited(manifests=[]), InvalidManifest, "both layers and manifests"),
    "a manifest of five megabytes": (
        of(APP.manifest.raw + b" " * 5_000_000),
        LimitExceeded,
        "^the size of the manifest .* exceeds its limit",
    ),
}


@pytest.mark.parametrize(("lie", "kind", "sentence"), LIES.values(), ids=LIES)
async def test_an_image_that_lies_is_refused(
    scene: Scene, lie: Image, kind: type[EngineError], sentence: str
) -> None:
    """Its bytes have the right digests; what they say does not fit together."""
    scene.registry.add("app", "latest", lie)
    await scene.refuses(kind, sentence)
    scene.registry.add("app", "latest", INDEX)
    await scene.recovers()


async def test_a_platform_that_an_index_does_not_have(scene: Scene) -> None:
    """The sentence lists what there is, without the attestation."""
    other = replace(scene.engine.settings, platform=Platform.parse("linux/s390x"))
    async with Engine(other) as engine:
        await Scene(scene.registry, engine).refuses(
            PlatformNotFound, f"^no matching manifest for linux/s390x: .* {HERE}, {ELSEWHERE}$"
        )
    await scene.recovers()


async def test_a_layer_above_a_limit(scene: Scene) -> None:
    """A bomb ends where the limit is."""
    limited = replace(scene.engine.settings, limits=Limits(unpacked_bytes=100_000))
    async with Engine(limited) as engine:
        await Scene(scene.registry, engine).refuses(
            LimitExceeded, "exceeds its limit: .* is more than 100000$"
        )
    await scene.recovers()


# --- continuing --------------------------------------------------------------------------------

KEPT = 100_000
WRONG_PARTS = {
    "the range ignored": (unranged, ["", f"bytes={KEPT}-"]),
    "416": (status(416), ["", f"bytes={KEPT}-", ""]),
    "another part": (
        with_headers(Content_Range=f"bytes 0-{SIZE - KEPT - 1}/{SIZE}"),
        ["", f"bytes={KEPT}-", f"bytes={KEPT}-"],
    ),
    "another size": (
        with_headers(Content_Range=f"bytes {KEPT}-{SIZE - 1}/{SIZE + 1}"),
        ["", f"bytes={KEPT}-", f"bytes={KEPT}-"],
    ),
    "no range said": (with_headers(Content_Range=""), ["", f"bytes={KEPT}-", f"bytes={KEPT}-"]),
    "many parts": (
        with_headers(Content_Range="", Content_Type="multipart/byteranges; boundary=x"),
        ["", f"bytes={KEPT}-", f"bytes={KEPT}-"],
    ),
}


@pytest.mark.parametrize(("answer", "ranges"), WRONG_PARTS.values(), ids=WRONG_PARTS)
async def test_a_download_goes_on_whatever_the_registry_makes_of_ranges(
    scene: Scene, answer: Fault, ranges: list[str]
) -> None:
    """R16 and R17, after a cut in the middle."""
    scene.script("layer", cut(KEPT), answer)
    await scene.succeeds()
    assert scene.asked("layer") == ranges


async def test_what_came_before_the_registry_went_away_is_kept(scene: Scene) -> None:
    """Though it was less than a batch; the next pull asks for the rest."""
    scene.script("layer", cut(KEPT), *[cut(0)] * FOREVER)
    await scene.refuses(RegistryUnavailable, FAILED + "the connection was cut")
    await scene.recovers()
    assert scene.asked("layer") == [f"bytes={KEPT}-"]


def garbage(size: int) -> bytes:
    return noise(size, "garbage")


LEFT_BEHIND: dict[str, tuple[bytes, list[str]]] = {
    "the beginning": (TOP.raw[:KEPT], [f"bytes={KEPT}-"]),
    "all but one byte": (TOP.raw[:-1], [f"bytes={SIZE - 1}-"]),
    "everything": (TOP.raw, []),
    "nothing": (b"", [""]),
    "garbage": (garbage(KEPT), [f"bytes={KEPT}-", ""]),
    "one byte of garbage": (b"\0", ["bytes=1-", ""]),
    "garbage at its end": (TOP.raw[:KEPT] + garbage(10), [f"bytes={KEPT + 10}-", ""]),
    "garbage of the right size": (garbage(SIZE), [""]),
    "more than it should be": (TOP.raw + b"\0", [""]),
    "much more than it should be": (garbage(2 * SIZE), [""]),
}


@pytest.mark.parametrize(("content", "ranges"), LEFT_BEHIND.values(), ids=LEFT_BEHIND)
async def test_what_an_earlier_run_left_is_used_if_it_is_right(
    scene: Scene, content: bytes, ranges: list[str]
) -> None:
    """And fetched anew, once, if it is not: a power cut may have left anything."""
    ingest_of(scene).write_bytes(content)
    await scene.succeeds()
    assert scene.asked("layer") == ranges


async def test_a_registry_that_lies_about_what_is_left_is_asked_twice_and_no_more(scene: Scene) -> None:
    """The second answer began at the first byte: now it is the registry's fault."""
    ingest_of(scene).write_bytes(garbage(KEPT))
    scene.script("layer", *[changed(with_one_bit_flipped)] * FOREVER)
    await scene.refuses(DigestMismatch, WRONG_CONTENT)
    assert scene.asked("layer") == [f"bytes={KEPT}-", ""]
    await scene.recovers()


async def test_what_a_killed_worker_had_unpacked_is_thrown_away(scene: Scene) -> None:
    """Also where its modes forbid that to its owner."""
    staging = scene.root / f"ingest/sha256-{TOP.diff_id.hex}.another.layer"
    (staging / "fs/top").mkdir(parents=True)
    (staging / "fs/top/secret").write_bytes(b"half of")
    (staging / "fs/top").chmod(0)
    await scene.succeeds()


async def test_a_blob_that_became_shorter_is_fetched_again(scene: Scene) -> None:
    """The unpacked layer is still good, and stays; until then the image says that it is not verified."""
    found = await scene.engine.pull(scene.name)
    os.truncate(scene.root / f"blobs/sha256/{TOP.digest.hex}", 1000)
    assert (await scene.engine.image(str(found.id))).verified == "Damaged"
    await scene.recovers()
    assert scene.asked("layer") == [""]


def ingest_of(scene: Scene) -> Path:
    return scene.root / f"ingest/sha256-{TOP.digest.hex}"


# --- elsewhere ---------------------------------------------------------------------------------


async def test_a_blob_at_another_host(scene: Scene) -> None:
    """As object storage has it: followed without the credentials, and asked anew when its address ran out."""
    async with FakeRegistry(host="127.0.0.2") as storage:
        storage.add("app", "latest", APP)
        signed = f"{storage.url}{'/v2/app'}/blobs/{TOP.digest}?signed=it"
        scene.script("layer", *[redirected(signed)] * 3)
        storage.script("GET", "/blobs/", cut(KEPT), status(403))
        await scene.succeeds()
        assert scene.asked("layer") == ["", f"bytes={KEPT}-", f"bytes={KEPT}-"]
        assert [seen.headers.get("Range", "") for seen in storage.requests] == scene.asked("layer")
        assert {seen.secret for seen in storage.requests} == {None}


# --- disks -------------------------------------------------------------------------------------


FULL = r"^no space left while writing .*: No space left on device$"


@pytest.mark.root
async def test_a_disk_that_fills_while_a_layer_comes(disk: Disk, scene: Scene) -> None:
    """Somebody else took the room. What fitted is kept in a place that is named, and later the download goes on."""
    large = image(layer({"large": noise(5_000_000)}), platform=HERE)
    scene.registry.add("large", "latest", large)
    name = f"{scene.registry.address}/large"

    def take_room(reply: Reply) -> Reply:
        disk.remount("size=2m")
        return reply

    disk.remount("size=20m")
    scene.registry.script("GET", str(large.layers[0].digest), take_room)
    error = await scene.refuses(DiskFull, FULL, name)
    where = disk.place / "ingest"
    assert error.__notes__ == [
        f"what was downloaded is kept in {where}, and the same command continues there"
    ]
    kept = (disk.place / f"ingest/sha256-{large.layers[0].digest.hex}").stat().st_size
    assert 1_000_000 < kept < 2_000_000

    disk.remount("size=20m")
    scene.registry.forget()
    assert (await scene.engine.pull(name)).verified == "Yes"
    (asked,) = scene.registry.asked("GET", str(large.layers[0].digest))
    assert asked.headers["Range"] == f"bytes={kept}-"
    assert flaws(disk.place) == []


@pytest.mark.root
async def test_a_disk_that_fills_while_a_layer_is_unpacked(disk: Disk, scene: Scene) -> None:
    """A small blob with much in it: the worker says so, and the blob is not fetched again."""
    zeros = image(layer({"zeros": bytes(5_000_000)}), platform=HERE)
    scene.registry.add("zeros", "latest", zeros)
    name = f"{scene.registry.address}/zeros"
    await scene.refuses(DiskFull, FULL, name)

    disk.remount("size=20m")
    scene.registry.forget()
    assert (await scene.engine.pull(name)).verified == "Yes"
    assert scene.registry.asked("GET", str(zeros.layers[0].digest)) == []
    assert flaws(disk.place) == []


@pytest.mark.root
@pytest.mark.parametrize("what", ["space", "inodes"])
async def test_a_disk_that_fills_at_every_step(disk: Disk, scene: Scene, what: str) -> None:
    """One page or one inode more after each failure, until the image fits: sound at each of them."""
    files = {f"f{n}": bytes([n]) * 3000 for n in range(12)}  # nobody foresees what they take
    small = image(layer(files), layer({"g": b"g"}), platform=HERE)
    scene.registry.add("small", "latest", small)
    name = f"{scene.registry.address}/small"
    index_before = (disk.place / "index.json").read_bytes()
    failures = 0
    for more in range(60):
        if what == "space":
            disk.leave_free(more)
        else:
            disk.leave_inodes(more)
        try:
            found = await scene.engine.pull(name)
        except (DiskFull, DoesNotFit) as error:
            failures += 1
            assert isinstance(error, DoesNotFit) == (what == "space" and failures == 1)
            assert isinstance(error, DoesNotFit) or re.search(FULL, str(error))
            assert flaws(disk.place) == []
            assert (disk.place / "index.json").read_bytes() == index_before
        else:
            break
    assert 10 < failures < 60
    assert found.verified == "Yes"
    assert flaws(disk.place) == []
    assert list((disk.place / "ingest").iterdir()) == []


@pytest.mark.root
async def test_a_disk_that_may_not_be_written(disk: Disk, scene: Scene) -> None:
    """What is there can still be listed."""
    disk.remount("ro")
    await scene.refuses(
        StoreUnwritable,
        "^cannot write to the store at .*: it can only be read, and that is enough for images",
    )
    disk.remount("rw")
    await scene.recovers()


@pytest.mark.parametrize("place", ["", "..", "ingest", "locks", "blobs", "blobs/sha256", "layers/sha256"])
async def test_a_file_where_a_directory_of_the_store_should_be(settings: Settings, place: str) -> None:
    """It is named, and it is left alone."""
    path = settings.root / "deeper" / "store"
    wrong = path.parent if place == ".." else path / place
    wrong.parent.mkdir(parents=True)
    wrong.write_text("not ours")
    with pytest.raises(StoreError, match=r"^cannot (write to|use) .*: [\w/ -]+$") as caught:
        async with Engine(replace(settings, root=path)) as engine:
            await engine.pull("localhost:1/app")
    assert str(wrong) in str(caught.value)
    assert is_one_sentence(str(caught.value))
    assert caught.value.exit_code == 1
    assert wrong.read_text() == "not ours"


IN_THE_WAY = [
    f"ingest/sha256-{TOP.digest.hex}/",
    f"ingest/sha256-{TOP.diff_id.hex}.another.layer",
    f"locks/blob-{TOP.digest}/".replace(":", "-"),
    f"blobs/sha256/{TOP.digest.hex}/",
    f"blobs/sha256/{APP.config.digest.hex}/",
]


@pytest.mark.parametrize("place", IN_THE_WAY, ids=[place[:20] for place in IN_THE_WAY])
async def test_something_in_the_way_of_a_file_of_the_store(scene: Scene, place: str) -> None:
    """Nothing of ours, so nothing is thrown away; when it has gone, the pull goes on."""
    path = scene.root / place
    if place.endswith("/"):
        (path / "not").mkdir(parents=True)
    else:
        path.write_text("not ours")
    with pytest.raises(StoreUnwritable) as caught:
        await scene.engine.pull(scene.name)
    assert is_one_sentence(str(caught.value))
    assert str(path) in str(caught.value)
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    await scene.recovers()
