"""The store as a registry: what clients ask for, what real ones pull, and what is refused."""

from __future__ import annotations

import gzip
import hashlib
import json
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import ClientSession
from anyio import to_thread

from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import InvalidOption, StoreCorrupt
from aiodocker_lite.reference import Reference
from aiodocker_lite.serve.names import catalog_of
from aiodocker_lite.serve.registry import Shelf
from aiodocker_lite.serve.server import serve
from tests.fakes.archives import Layout, Parts, parts, podman_store, run_tool, sha256, write_tree

NOISE = hashlib.shake_256(b"noise").hexdigest(300_000)
"""What does not become small by compression."""
ONE, TWO = parts("one"), parts("two", NOISE)
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Store:
    """An OCI layout on disk and the names of its images, as a shelf."""

    def __init__(self, directory: Path, images: dict[str, Parts]) -> None:
        self.directory = directory
        layout = Layout()
        self.entries: dict[Reference, dict[str, Any]] = {}
        for name, image in images.items():
            packed = tuple(gzip.compress(layer, 1, mtime=0) for layer in image.layers)
            self.entries[Reference.parse(name)] = layout.image(image, packed)
        write_tree(directory, layout.done())

    def shelf(self) -> Shelf:
        return Shelf(lambda: tuple(self.entries), self.manifest, self.blob)

    def manifest(self, asked: Reference) -> tuple[str, bytes] | None:
        for name, entry in self.entries.items():
            if name.name == asked.name and asked.target in (name.tag, entry["digest"]):
                return entry["mediaType"], self._path(entry["digest"]).read_bytes()
        return None

    def blob(self, digest: Digest) -> Path | None:
        path = self._path(str(digest))
        return path if path.exists() else None

    def digest(self, name: str) -> str:
        digest: str = self.entries[Reference.parse(name)]["digest"]
        return digest

    def document(self, name: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self._path(self.digest(name)).read_bytes())
        return document

    def _path(self, digest: str) -> Path:
        return self.directory / "blobs" / digest.replace(":", "/")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of its one error, which says something as well."""
        (error,) = self.json["errors"]
        assert error["message"]
        return str(error["code"])


Ask = Callable[..., Any]


@asynccontextmanager
async def asking(shelf: Shelf) -> AsyncIterator[Ask]:
    """A server, and a function that sends it one request."""
    async with (
        serve(shelf) as (host, port),
        ClientSession(f"http://{host}:{port}", auto_decompress=False) as session,
    ):

        async def ask(path: str, method: str = "GET", **headers: str) -> Answer:
            names = {key.replace("_", "-"): value for key, value in headers.items()}
            async with session.request(method, path, headers=names) as response:
                return Answer(response.status, response.headers, await response.read())

        yield ask


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two images under some names, on several registries."""
    names = {
        "alpine:3.20": ONE,
        "alpine:edge": TWO,
        "quay.io/a/tool:1": TWO,
        "localhost:5000/mine:latest": ONE,
    }
    return Store(tmp_path / "store", names)


@pytest.fixture
async def ask(store: Store) -> AsyncIterator[Ask]:
    """One request to a server of this store."""
    async with asking(store.shelf()) as function:
        yield function


# --- real clients ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["alpine:edge", "library/alpine:edge", "quay.io/a/tool:1", "a/tool:1", "mine"]
)
async def test_skopeo_copies_an_image_from_us(name: str, store: Store, tmp_path: Path) -> None:
    """Every blob arrives, and the manifest is the very same."""
    copy = tmp_path / "copy"
    async with serve(store.shelf()) as (host, port):
        source = f"docker://{host}:{port}/{name}"
        command = ("skopeo", "copy", "-q", "--src-tls-verify=false", source, f"oci:{copy}:it")
        await to_thread.run_sync(partial(run_tool, *command))
    (entry,) = json.loads((copy / "index.json").read_bytes())["manifests"]

    assert entry["digest"] == store.digest(
        {"a/tool:1": "quay.io/a/tool:1", "mine": "localhost:5000/mine"}.get(name, name)
    )
    layers = json.loads((copy / "blobs" / entry["digest"].replace(":", "/")).read_bytes())["layers"]
    for layer in layers:
        assert (
            sha256((copy / "blobs" / layer["digest"].replace(":", "/")).read_bytes()) == layer["digest"][7:]
        )


async def test_podman_pulls_an_image_from_us(store: Store) -> None:
    """By tag and by digest, with the image ID that we have."""
    async with serve(store.shelf()) as (host, port):
        base = f"{host}:{port}/quay.io/a/tool"
        with podman_store() as podman:
            pull = partial(podman, "pull", "-q", "--tls-verify=false")
            by_tag = await to_thread.run_sync(pull, f"{base}:1")
            by_digest = await to_thread.run_sync(pull, f"{base}@{store.digest('quay.io/a/tool:1')}")

    assert by_tag == by_digest == f"{TWO.id[7:]}\n".encode()


async def test_skopeo_lists_and_inspects(store: Store) -> None:
    """Tags, and an image by its digest without any tag."""
    async with serve(store.shelf()) as (host, port):
        run = partial(to_thread.run_sync, abandon_on_cancel=False)
        tls = "--tls-verify=false"
        tags = await run(lambda: run_tool("skopeo", "list-tags", tls, f"docker://{host}:{port}/alpine"))
        source = f"docker://{host}:{port}/alpine@{store.digest('alpine:3.20')}"
        raw = await run(lambda: run_tool("skopeo", "inspect", tls, "--raw", source))

    assert json.loads(tags)["Tags"] == ["3.20", "edge"]
    assert f"sha256:{sha256(raw)}" == store.digest("alpine:3.20")


async def test_curl_continues_a_download(store: Store, tmp_path: Path) -> None:
    """`-C -` asks for the rest, and gets just that."""
    layer = store.document("alpine:edge")["layers"][1]["digest"]
    content = store.blob(Digest.parse(layer)).read_bytes()  # type: ignore[union-attr]  # it is there
    part = tmp_path / "part"
    part.write_bytes(content[:1000])
    async with serve(store.shelf()) as (host, port):
        url = f"http://{host}:{port}/v2/alpine/blobs/{layer}"
        await to_thread.run_sync(lambda: run_tool("curl", "-sf", "-C", "-", "-o", part, url))

    assert part.read_bytes() == content


# --- manifests ---------------------------------------------------------------------------------


async def test_the_version_is_announced(ask: Ask) -> None:
    """Every client asks this first; nobody has to log in."""
    for path in ("/v2/", "/v2"):
        answer = await ask(path)
        assert (answer.status, answer.json) == (200, {})
        assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"


@pytest.mark.parametrize("by", ["tag", "digest"])
async def test_a_manifest_comes_byte_for_byte(by: str, ask: Ask, store: Store) -> None:
    """By tag and by digest, with the headers that clients check; HEAD has the same, and no body."""
    digest = store.digest("alpine:3.20")
    path = f"/v2/library/alpine/manifests/{'3.20' if by == 'tag' else digest}"
    answer, head = await ask(path), await ask(path, "HEAD")

    assert answer.status == head.status == 200
    assert f"sha256:{sha256(answer.body)}" == digest
    assert head.body == b""
    for each in (answer, head):
        assert each.headers["Content-Type"] == MANIFEST
        assert each.headers["Content-Length"] == str(len(answer.body))
        assert each.headers["Docker-Content-Digest"] == digest
        assert each.headers["ETag"] == f'"{digest}"'


async def test_content_that_is_known_is_not_sent_again(ask: Ask, store: Store) -> None:
    """If-None-Match with the digest, for manifests and for blobs."""
    digest, config = store.digest("alpine:3.20"), store.document("alpine:3.20")["config"]["digest"]
    for path, tag in (("manifests/3.20", digest), (f"blobs/{config}", config)):
        answer = await ask(f"/v2/alpine/{path}", If_None_Match=f'"{tag}"')
        assert (answer.status, answer.body) == (304, b"")
        assert (await ask(f"/v2/alpine/{path}", If_None_Match='"sha256:other"')).status == 200


async def test_other_bytes_are_never_served_under_a_digest(store: Store) -> None:
    """A shelf may know a name by the digest of an index that it does not have: then it is unknown."""
    shelf = replace(store.shelf(), manifest=lambda asked: (MANIFEST, b"{}"))
    async with asking(shelf) as ask:
        answer = await ask(f"/v2/alpine/manifests/sha256:{'0' * 64}")

    assert (answer.status, answer.code) == (404, "MANIFEST_UNKNOWN")


# --- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("alpine/manifests/3.20", "alpine:3.20"),
        ("library/alpine/manifests/3.20", "alpine:3.20"),
        ("docker.io/library/alpine/manifests/3.20", "alpine:3.20"),
        ("docker.io/alpine/manifests/3.20", "alpine:3.20"),
        ("index.docker.io/library/alpine/manifests/edge", "alpine:edge"),
        ("library/alpine/manifests/3.20?ns=docker.io", "alpine:3.20"),
        ("quay.io/a/tool/manifests/1", "quay.io/a/tool:1"),
        ("a/tool/manifests/1", "quay.io/a/tool:1"),
        ("a/tool/manifests/1?ns=quay.io", "quay.io/a/tool:1"),
        ("localhost:5000/mine/manifests/latest", "localhost:5000/mine"),
        ("mine/manifests/latest", "localhost:5000/mine"),
        ("mine/manifests/latest?ns=localhost:5000", "localhost:5000/mine"),
    ],
)
async def test_a_path_means_one_repository(path: str, name: str, ask: Ask, store: Store) -> None:
    """A full name, Docker Hub's, or the only one of that name; a mirror says which registry it means."""
    answer = await ask(f"/v2/{path}")

    assert answer.headers["Docker-Content-Digest"] == store.digest(name)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("alpine/manifests/gone", 404, "MANIFEST_UNKNOWN"),
        ("alpine/manifests/-bad-", 404, "MANIFEST_UNKNOWN"),
        (f"alpine/manifests/sha256:{'0' * 64}", 404, "MANIFEST_UNKNOWN"),
        ("alpine/manifests/sha256:short", 400, "DIGEST_INVALID"),
        ("gone/manifests/latest", 404, "NAME_UNKNOWN"),
        ("gone/tags/list", 404, "NAME_UNKNOWN"),
        (f"gone/blobs/sha256:{'0' * 64}", 404, "BLOB_UNKNOWN"),
        ("a/tool/manifests/1?ns=ghcr.io", 404, "NAME_UNKNOWN"),
        ("alpine/manifests/3.20?ns=quay.io", 404, "NAME_UNKNOWN"),
        ("Alpine/manifests/3.20", 400, "NAME_INVALID"),
        ("a//b/manifests/3.20", 400, "NAME_INVALID"),
        ("alpine:3.20/manifests/3.20", 400, "NAME_INVALID"),
        ("alpine:latest/tags/list", 400, "NAME_INVALID"),
        (f"alpine@sha256:{'0' * 64}/tags/list", 400, "NAME_INVALID"),
        ("alpine/manifests/3.20?ns=../x", 400, "NAME_INVALID"),
        ("..%2f..%2fetc/manifests/passwd", 400, "NAME_INVALID"),
        (f"alpine/blobs/sha256:{'0' * 64}", 404, "BLOB_UNKNOWN"),
        ("alpine/blobs/sha256:..%2f..%2findex.json", 400, "DIGEST_INVALID"),
        (f"alpine/blobs/md5:{'0' * 32}", 400, "DIGEST_INVALID"),
        (f"alpine/referrers/sha256:{'0' * 64}", 404, "UNSUPPORTED"),
        ("nothing", 404, "UNSUPPORTED"),
        ("alpine/tags/list?n=-1", 400, "PAGINATION_NUMBER_INVALID"),
        ("_catalog?n=many", 400, "PAGINATION_NUMBER_INVALID"),
    ],
)  # fmt: skip
async def test_what_is_not_there_has_a_code(path: str, status: int, code: str, ask: Ask) -> None:
    """The codes are the specification's, so that clients know what to do."""
    answer = await ask(f"/v2/{path}")

    assert (answer.status, answer.code) == (status, code)
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
    assert (await ask(f"/v2/{path}", "HEAD")).status == status


async def test_one_name_on_two_registries_has_to_be_said_in_full(tmp_path: Path) -> None:
    """Nobody gets another image than the one that was meant."""
    names = {"quay.io/tool:1": ONE, "ghcr.io/tool:1": TWO}
    async with asking(Store(tmp_path, names).shelf()) as ask:
        answer = await ask("/v2/tool/manifests/1")
        assert (answer.status, answer.code) == (404, "NAME_UNKNOWN")
        assert "on each of ghcr.io, quay.io" in answer.json["errors"][0]["message"]
        assert (await ask("/v2/ghcr.io/tool/manifests/1")).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["alpine/manifests/3.20", "alpine/blobs/uploads/", "", "anything"])
async def test_nothing_can_be_written(method: str, path: str, ask: Ask) -> None:
    """405 with the code that says so, wherever it is tried."""
    answer = await ask(f"/v2/{path}", method)

    assert (answer.status, answer.code) == (405, "UNSUPPORTED")
    assert answer.headers["Allow"] == "GET, HEAD"


# --- lists -------------------------------------------------------------------------------------


async def test_tags_are_listed_in_pages(ask: Ask) -> None:
    """In order; `last` is where the page before ended, and a Link leads on."""
    whole = await ask("/v2/alpine/tags/list")
    first = await ask("/v2/alpine/tags/list?n=1")
    link = first.headers["Link"]
    second = await ask(link.removeprefix("<").partition(">")[0])

    assert whole.json == {"name": "alpine", "tags": ["3.20", "edge"]}
    assert first.json["tags"] == ["3.20"]
    assert link == '</v2/alpine/tags/list?n=1&last=3.20>; rel="next"'
    assert second.json["tags"] == ["edge"]
    assert "Link" not in second.headers
    assert (await ask("/v2/alpine/tags/list?n=0")).json["tags"] == []
    assert (await ask("/v2/alpine/tags/list?last=zzz")).json["tags"] == []


async def test_a_mirror_is_asked_for_one_registry_on_every_page(ask: Ask) -> None:
    """The Link keeps the registry, or the second page would be of another repository."""
    first = await ask("/v2/library/alpine/tags/list?ns=docker.io&n=1")

    assert first.headers["Link"] == '</v2/library/alpine/tags/list?ns=docker.io&n=1&last=3.20>; rel="next"'


async def test_the_catalog_lists_what_can_be_asked_for(ask: Ask) -> None:
    """Each repository once, under a path that leads to it."""
    assert (await ask("/v2/_catalog")).json == {"repositories": ["alpine", "mine", "quay.io/a/tool"]}
    assert (await ask("/v2/_catalog?n=1&last=alpine")).json == {"repositories": ["mine"]}


@pytest.mark.parametrize(
    ("names", "paths"),
    [
        ([], []),
        (["alpine:1", "alpine:2"], ["alpine"]),
        (["me/app", "localhost:5000/me/app"], ["me/app"]),
        (["localhost:5000/app", "localhost:6000/app"], []),
        (["localhost:5000/app", "quay.io/app"], ["quay.io/app"]),
        (["alpine@sha256:" + "0" * 64], ["alpine"]),
        (["[::1]:5000/app"], ["app"]),
    ],
)
def test_repositories_without_a_path_are_not_listed(names: list[str], paths: list[str]) -> None:
    """A port cannot stand in a path; what is ambiguous without one cannot be asked for."""
    assert catalog_of([Reference.parse(name) for name in names]) == paths


async def test_the_store_is_read_anew_for_every_request(ask: Ask, store: Store) -> None:
    """What was pulled since the server began is there, and what was removed is gone."""
    store.entries[Reference.parse("new:1")] = store.entries.pop(Reference.parse("alpine:3.20"))

    assert (await ask("/v2/new/manifests/1")).status == 200
    assert (await ask("/v2/alpine/manifests/3.20")).status == 404


# --- blobs -------------------------------------------------------------------------------------


@pytest.fixture
def layer(store: Store) -> str:
    """The digest of a layer of more than one chunk."""
    digest: str = store.document("alpine:edge")["layers"][1]["digest"]
    return digest


@pytest.fixture
def content(store: Store, layer: str) -> bytes:
    """Its bytes."""
    path = store.blob(Digest.parse(layer))
    assert path is not None
    return path.read_bytes()


async def test_a_blob_comes_byte_for_byte(ask: Ask, layer: str, content: bytes) -> None:
    """Never compressed once more, whatever the client would accept, and under any name, for it has a digest."""
    for path in (f"/v2/alpine/blobs/{layer}", f"/v2/mine/blobs/{layer}", f"/v2/gone/blobs/{layer}"):
        answer = await ask(path, Accept_Encoding="gzip, deflate, br")
        head = await ask(path, "HEAD")
        assert (answer.status, answer.body) == (200, content)
        assert (head.status, head.body) == (200, b"")
        for each in (answer, head):
            assert "Content-Encoding" not in each.headers
            assert each.headers["Content-Length"] == str(len(content))
            assert each.headers["Content-Type"] == "application/octet-stream"
            assert each.headers["Docker-Content-Digest"] == layer
            assert each.headers["ETag"] == f'"{layer}"'
            assert each.headers["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize(("asked", "start", "stop"), [("0-0", 0, 1), ("10-19", 10, 20), ("100-", 100, None), ("-7", -7, None), ("5-99999999", 5, None)])  # fmt: skip
async def test_a_range_of_a_blob(
    asked: str, start: int, stop: int | None, ask: Ask, layer: str, content: bytes
) -> None:
    """206 with what was asked for, and where it is from."""
    answer = await ask(f"/v2/alpine/blobs/{layer}", Range=f"bytes={asked}")
    first, end, _ = slice(start, stop).indices(len(content))

    assert (answer.status, answer.body) == (206, content[start:stop])
    assert answer.headers["Content-Range"] == f"bytes {first}-{end - 1}/{len(content)}"
    assert answer.headers["Content-Length"] == str(end - first)
    assert answer.headers["ETag"] == f'"{layer}"'


@pytest.mark.parametrize("asked", ["bytes=999999999-", "bytes=9-2", "bytes=x-y"])
async def test_a_range_that_is_none(asked: str, ask: Ask, layer: str, content: bytes) -> None:
    """416, with the size that the blob has."""
    answer = await ask(f"/v2/alpine/blobs/{layer}", Range=asked)

    assert (answer.status, answer.body) == (416, b"")
    assert answer.headers["Content-Range"] == f"bytes */{len(content)}"


async def test_an_empty_blob_is_a_blob(store: Store, ask: Ask) -> None:
    """Nothing, with all headers."""
    digest = Digest.of(b"")
    (store.directory / "blobs/sha256" / digest.hex).write_bytes(b"")
    answer = await ask(f"/v2/alpine/blobs/{digest}")

    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", "0")


async def test_a_damaged_store_is_an_answer(store: Store) -> None:
    """500 with a sentence, and the server goes on."""

    def damaged(asked: Reference) -> tuple[str, bytes] | None:
        raise StoreCorrupt("blobs/sha256/0", "No such file or directory")

    async with asking(replace(store.shelf(), manifest=damaged)) as ask:
        answer = await ask("/v2/alpine/manifests/3.20")
        assert (answer.status, answer.code) == (500, "UNKNOWN")
        assert "the store is damaged" in answer.json["errors"][0]["message"]
        assert (await ask("/v2/")).status == 200


# --- the server --------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com", "", "127.0.0.1.example.com"])
async def test_other_machines_are_not_served(host: str, store: Store) -> None:
    """Without TLS and a secret: images may be private."""
    with pytest.raises(InvalidOption, match=r"is not (a loopback|an IP) address"):
        async with serve(store.shelf(), host):
            pass


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1.2.3"])
async def test_loopback_addresses_are_served(host: str, store: Store) -> None:
    """On a port that is free, which is told."""
    async with serve(store.shelf(), host) as (address, port):
        assert address == ("127.0.0.1" if host == "localhost" else host)
        async with ClientSession() as session, session.get(f"http://{address}:{port}/v2/") as answer:
            assert answer.status == 200


async def test_a_port_that_is_taken_is_said_so(store: Store) -> None:
    """As is one that is no port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InvalidOption, match=rf"127\.0\.0\.1:{port} is already in use"):
            async with serve(store.shelf(), port=port):
                pass
    with pytest.raises(InvalidOption, match="70000 is not a port"):
        async with serve(store.shelf(), port=70_000):
            pass


async def test_the_port_is_free_after_the_block(store: Store) -> None:
    """Also when the block was cancelled, with a connection open."""
    with anyio.CancelScope() as scope:
        async with serve(store.shelf()) as (host, port), await anyio.connect_tcp(host, port) as connection:
            await connection.send(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await connection.receive()).startswith(b"HTTP/1.1 200 OK")
            scope.cancel()
            await anyio.sleep_forever()

    assert scope.cancelled_caught
    async with serve(store.shelf(), port=port) as (_, again):
        assert again == port


async def test_a_client_that_does_not_read_holds_up_the_end_only_shortly(store: Store) -> None:
    """What is on its way gets a moment to finish, then it is cut."""
    # More than fits into the buffers of both sockets.
    (store.directory / "blobs/sha256" / ("0" * 64)).write_bytes(bytes(32 << 20))
    with anyio.fail_after(10):
        async with serve(store.shelf()) as (host, port):
            connection = await anyio.connect_tcp(host, port)
            await connection.send(
                f"GET /v2/alpine/blobs/sha256:{'0' * 64} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
            )
            await connection.receive(1)
    await connection.aclose()


async def test_a_client_that_hangs_up_disturbs_nobody(store: Store, layer: str) -> None:
    """In the middle of a blob."""
    async with asking(store.shelf()) as ask, serve(store.shelf()) as (host, port):
        for _ in range(5):
            async with await anyio.connect_tcp(host, port) as connection:
                await connection.send(f"GET /v2/alpine/blobs/{layer} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                await connection.receive(1)
        assert (await ask(f"/v2/alpine/blobs/{layer}")).status == 200
