"""What a conductor asks, of real registries and of ones that misbehave."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import (
    AccessDenied,
    BlobNotFound,
    DigestMismatch,
    ImageNotFound,
    LimitExceeded,
    LoginFailed,
    RateLimited,
    RegistryError,
    RegistryMisbehaved,
    RegistryUnavailable,
    SizeMismatch,
    UnsupportedMediaType,
)
from aiodocker_lite.manifest import DOCKER_LIST, DOCUMENT_MAX, OCI_INDEX, Descriptor, Index, parse_manifest
from aiodocker_lite.reference import Reference
from aiodocker_lite.registry.client import HttpRegistry
from aiodocker_lite.registry.credentials import Credential
from aiodocker_lite.registry.keyring import Keyring
from aiodocker_lite.registry.source import Registry
from aiodocker_lite.settings import Settings
from aiodocker_lite.testing import images
from aiodocker_lite.testing.faults import (
    Fault,
    answering,
    cut,
    honest,
    status,
    with_body,
    with_headers,
    with_length,
)
from aiodocker_lite.testing.images import Image, image, index, layer, noise, write_layout
from aiodocker_lite.testing.messages import Reply
from aiodocker_lite.testing.registry import FakeRegistry
from tests.fakes.clients import NewClient
from tests.fakes.processes import IDENTITY_TOKEN, PASSWORD, USER, RealRegistry

ALICE = Credential(USER, PASSWORD, "a test")
OTHER = Digest("sha256", "0" * 64)


@pytest.fixture(scope="session")
def family() -> images.Index:
    """An image for two platforms with every compression, and an attestation."""
    shared = layer({"etc/": b"", "etc/os": b"test"})
    mine = image(shared, layer({"big": noise(2_000_000)}, "zstd"), layer({"plain": b"p" * 5000}, "plain"))
    return index(mine, image(shared, platform="linux/arm64/v8"), attestation=True)


@pytest.fixture(scope="session")
def layout(family: images.Index, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The OCI layout that is pushed."""
    return write_layout(tmp_path_factory.mktemp("family"), {"latest": family})


async def read_everything(registry: Registry, reference: Reference, family: images.Index) -> None:
    """All that a pull asks for, with all layers at once."""
    promised = await registry.resolve(reference)
    assert promised == family.top.descriptor
    document = parse_manifest(await registry.manifest(reference, promised), promised)
    assert isinstance(document, Index)
    ours = family.images[0]
    assert await registry.manifest(reference, document.manifests[0]) == ours.manifest.raw
    assert await registry.blob(reference, ours.config.descriptor) == ours.config.raw

    async def read(blob: images.Layer, offset: int) -> None:
        async with registry.open_blob(reference, blob.descriptor, offset) as chunks:
            assert b"".join([chunk async for chunk in chunks]) == blob.raw[offset:]

    async with anyio.create_task_group() as tasks:
        for blob in ours.layers:
            for offset in (0, 1, len(blob.raw) - 1):
                tasks.start_soon(read, blob, offset)


async def test_an_open_registry(
    open_registry: RealRegistry, layout: Path, family: images.Index, client: NewClient
) -> None:
    """Docker's registry without a lock, by tag and by digest."""
    name = open_registry.push(layout, "team/app:v1")
    await read_everything(client(), Reference.parse(name), family)
    await read_everything(client(), Reference.parse(f"{name}@{family.top.digest}"), family)


async def test_a_registry_with_basic(
    basic_registry: RealRegistry, layout: Path, family: images.Index, client: NewClient
) -> None:
    """Docker's registry with htpasswd."""
    name = basic_registry.push(layout, "team/app:v1")
    await read_everything(client(ALICE), Reference.parse(name), family)


async def test_a_registry_with_tokens(
    token_registry: RealRegistry, layout: Path, family: images.Index, client: NewClient
) -> None:
    """Docker's registry with a token server: one token for a whole pull."""
    name = token_registry.push(layout, "team/app:v1")
    assert token_registry.tokens is not None
    token_registry.tokens.requests.clear()
    await read_everything(client(ALICE), Reference.parse(name), family)
    assert token_registry.tokens.requests == [
        {"service": ["test-registry"], "scope": ["repository:team/app:pull"], "account": [USER]}
    ]


@pytest.mark.parametrize("kind", ["identity", "registry"])
async def test_a_registry_with_tokens_and_ours_for_it(
    token_registry: RealRegistry, layout: Path, family: images.Index, client: NewClient, kind: str
) -> None:
    """An identity token is exchanged by OAuth2; a registry token is one that docker's registry verifies."""
    reference = Reference.parse(token_registry.push(layout, "team/app:v1"))
    tokens = token_registry.tokens
    assert tokens is not None
    tokens.requests.clear()
    registry_token = tokens.token(USER, ["repository:team/app:pull"])
    given = {"identity_token": IDENTITY_TOKEN} if kind == "identity" else {"registry_token": registry_token}
    await read_everything(client(Credential("", "", "a test", **given)), reference, family)
    asked = [request["grant_type"] for request in tokens.requests]
    assert asked == ([["refresh_token"]] if kind == "identity" else [])


async def test_a_token_that_a_real_registry_calls_ended_is_replaced(
    token_registry: RealRegistry, layout: Path, family: images.Index, client: NewClient
) -> None:
    """R24: one new one; and two that are no good are enough (R06)."""
    reference = Reference.parse(token_registry.push(layout, "team/app:v1"))
    tokens = token_registry.tokens
    assert tokens is not None
    tokens.requests.clear()
    registry = client(ALICE)
    tokens.ended = 1
    await read_everything(registry, reference, family)
    assert len(tokens.requests) == 2
    tokens.ended = 10
    try:
        with pytest.raises(AccessDenied, match="used: a test"):
            await client(ALICE).resolve(reference)
    finally:
        tokens.ended = 0
    assert len(tokens.requests) == 4


@pytest.mark.parametrize("lock", ["basic_registry", "token_registry"])
@pytest.mark.parametrize("credential", [None, Credential(USER, "wrong", "a test")])
async def test_a_locked_registry_is_not_opened_by_the_wrong_key(
    request: pytest.FixtureRequest, lock: str, credential: Credential | None, client: NewClient
) -> None:
    """One sentence with the source of what was tried."""
    registry: RealRegistry = request.getfixturevalue(lock)
    used = credential.source if credential else "anonymous"
    with pytest.raises(AccessDenied, match=rf"denied for {registry.address}/team/app:v1, .*used: {used}\)"):
        await client(credential).resolve(Reference.parse(f"{registry.address}/team/app:v1"))


@pytest.mark.parametrize("lock", ["open_registry", "basic_registry", "token_registry"])
async def test_login_and_what_it_keeps_open_a_registry(
    request: pytest.FixtureRequest, lock: str, layout: Path, client: NewClient, docker_config: Path
) -> None:
    """The way of the command: check, keep, find, pull; and a wrong password is refused."""
    registry: RealRegistry = request.getfixturevalue(lock)
    name = registry.push(layout, "team/login:v1")
    await client().login(registry.address, USER, PASSWORD)
    if lock != "open_registry":
        with pytest.raises(LoginFailed):
            await client().login(registry.address, USER, "wrong")
    keyring = Keyring(Settings())
    assert await keyring.keep(registry.address, USER, PASSWORD) == docker_config
    async with HttpRegistry(Settings(), credentials=keyring.find) as pulling:
        await pulling.resolve(Reference.parse(name))


@pytest.mark.parametrize("name", ["team/app:nothing", "nobody/nothing:v1", f"team/app@{OTHER}"])
async def test_an_image_that_is_not_there(open_registry: RealRegistry, name: str, client: NewClient) -> None:
    """A tag, a repository, a digest: the sentence has the whole name."""
    with pytest.raises(ImageNotFound, match=f"{open_registry.address}/{name} not found: manifest unknown"):
        await client().resolve(Reference.parse(f"{open_registry.address}/{name}"))


async def test_the_name_of_a_blob_that_is_not_there(
    open_registry: RealRegistry, layout: Path, client: NewClient
) -> None:
    """The manifest is there and the blob is not: the registry lost it."""
    name = open_registry.push(layout, "team/app:v1")
    with pytest.raises(BlobNotFound, match=f"not complete in its registry: blob {OTHER}"):
        await client().blob(Reference.parse(name), Descriptor("x", OTHER, 10))


async def test_all_manifest_types_are_asked_for(fake: FakeRegistry, client: NewClient) -> None:
    """Or an old registry would convert an image, and change its digest."""
    await client().resolve(fake.reference("app"))
    accepted = fake.requests[0].headers["Accept"]
    assert all(
        kind in accepted for kind in (OCI_INDEX, DOCKER_LIST, "oci.image.manifest.v1", "manifest.v2+json")
    )


@pytest.mark.parametrize("code", [400, 405, 501])
async def test_where_head_is_refused_the_manifest_is_read(
    fake: FakeRegistry, app: Image, client: NewClient, code: int
) -> None:
    """And its digest computed."""
    fake.script("HEAD", "/manifests/", status(code))
    assert await client().resolve(fake.reference("app")) == app.top.descriptor


@pytest.mark.parametrize(
    "fault",
    [
        with_headers(Docker_Content_Digest=""),
        with_headers(Docker_Content_Digest="not a digest"),
        with_headers(Docker_Content_Digest="md5:abc"),
        with_length("chunked"),
    ],
)
async def test_where_head_says_too_little_the_manifest_is_read(
    fake: FakeRegistry, app: Image, client: NewClient, fault: Fault
) -> None:
    """R09: digest or length missing, or no digest that we know."""
    fake.script("", "/manifests/", fault, fault)
    assert await client().resolve(fake.reference("app")) == app.top.descriptor
    assert fake.asked("GET", "/manifests/")


async def test_a_media_type_is_read_without_its_parameters(
    fake: FakeRegistry, app: Image, client: NewClient
) -> None:
    """Some registries add a charset."""
    kind = app.manifest.media_type
    fake.script("HEAD", "/manifests/", with_headers(Content_Type=f"{kind}; charset=utf-8"))
    assert (await client().resolve(fake.reference("app"))).media_type == kind


async def test_a_digest_that_is_not_of_the_bytes_is_refused(fake: FakeRegistry, client: NewClient) -> None:
    """R09: where we read, we compute."""
    wrong = with_headers(Docker_Content_Digest=str(OTHER))
    fake.script("", "/manifests/", status(405), wrong)
    with pytest.raises(DigestMismatch):
        await client().resolve(fake.reference("app"))


async def test_the_digest_in_the_name_decides(fake: FakeRegistry, app: Image, client: NewClient) -> None:
    """R10: a tag beside it is not even asked for, and another answer is refused."""
    name = f"app:elsewhere@{app.top.digest}"
    assert await client().resolve(fake.reference(name)) == app.top.descriptor
    wrong = with_headers(Docker_Content_Digest=str(OTHER))
    fake.script("", "/manifests/", wrong)
    with pytest.raises(DigestMismatch, match=str(app.top.digest)):
        await client().resolve(fake.reference(name))
    fake.script("", "/manifests/", status(405), answering(Reply(200, b"{}", {})))
    with pytest.raises(DigestMismatch, match=str(app.top.digest)):
        await client().resolve(fake.reference(name))


async def test_a_digest_of_another_algorithm_says_nothing(
    fake: FakeRegistry, app: Image, client: NewClient
) -> None:
    """R09: asked by SHA-256, answered with SHA-512: the bytes are checked by who parses them."""
    fake.script("", "/manifests/", with_headers(Docker_Content_Digest="sha512:" + "0" * 128))
    assert await client().resolve(fake.reference(f"app@{app.top.digest}")) == app.top.descriptor


@pytest.mark.parametrize("method", ["HEAD", "GET"])
async def test_a_login_page_is_no_manifest(
    fake: FakeRegistry, app: Image, client: NewClient, method: str
) -> None:
    """R20: status 200 and HTML, as captive portals send it."""
    faults = [with_body(b"<html>please log in</html>")]
    fake.script("", "/manifests/", *([honest] if method == "GET" else []), *faults)
    with pytest.raises(
        RegistryMisbehaved, match=rf"{fake.address} does not .* 'text/html' instead of a manifest"
    ):
        await client().manifest(fake.reference("app"), await client().resolve(fake.reference("app")))


async def test_a_manifest_of_docker_1_9_is_named(fake: FakeRegistry, client: NewClient) -> None:
    """R12: old images get a sentence about their age."""
    old = "application/vnd.docker.distribution.manifest.v1+prettyjws"
    fake.script("HEAD", "/manifests/", with_headers(Content_Type=old))
    with pytest.raises(UnsupportedMediaType, match=r"before Docker|by Docker before 1\.10"):
        await client().resolve(fake.reference("app"))


@pytest.mark.parametrize("said", [True, False])
async def test_a_manifest_without_end_is_not_read_to_its_end(
    fake: FakeRegistry, app: Image, client: NewClient, said: bool
) -> None:
    """R13: 4 MiB and no more, whether a Content-Length says it or not."""
    huge = b"x" * (DOCUMENT_MAX * 4)
    fake.script("GET", "/manifests/", answering(Reply(200, huge, length=None if said else "chunked")))
    with pytest.raises(LimitExceeded, match="4194304"):
        await client().manifest(fake.reference("app"), app.top.descriptor)
    fake.script("HEAD", "/manifests/", with_length(DOCUMENT_MAX + 1))
    with pytest.raises(LimitExceeded):
        await client().resolve(fake.reference("app"))


async def test_a_small_blob_has_a_limit_and_a_size(fake: FakeRegistry, app: Image, client: NewClient) -> None:
    """R14: nothing is read that is promised to be huge, and not more than was promised."""
    config = app.config.descriptor
    with pytest.raises(LimitExceeded):
        await client().blob(fake.reference("app"), Descriptor("x", config.digest, 2**40))
    assert fake.requests == []
    fake.script("GET", "/blobs/", answering(Reply(200, app.config.raw + b"x" * 100_000, length="chunked")))
    with pytest.raises(SizeMismatch):
        await client().blob(fake.reference("app"), config)


async def ask_for(what: str, registry: HttpRegistry, reference: Reference, app: Image) -> None:
    if what == "resolve":
        await registry.resolve(reference)
    elif what == "manifest":
        await registry.manifest(reference, app.top.descriptor)
    else:
        await registry.blob(reference, app.config.descriptor)


@pytest.mark.parametrize("path", ["resolve", "manifest", "blob"])
@pytest.mark.parametrize(
    ("fault", "kind", "retryable"),
    [
        (status(401), AccessDenied, False),
        (status(403), AccessDenied, False),
        (status(404), ImageNotFound, False),
        (status(408), RegistryUnavailable, True),
        (status(429), RateLimited, True),
        (status(500), RegistryUnavailable, True),
        (status(504), RegistryUnavailable, True),
        (status(451), RegistryMisbehaved, False),
        (status(204), RegistryMisbehaved, False),
        (status(300), RegistryMisbehaved, False),
        (cut(0, "reset"), RegistryUnavailable, True),
        (cut(0, "stall"), RegistryUnavailable, True),
    ],
)
async def test_every_request_names_every_fault(
    fake: FakeRegistry,
    app: Image,
    client: NewClient,
    path: str,
    fault: Fault,
    kind: type[RegistryError],
    retryable: bool,
) -> None:
    """Each status and each cut, on each kind of request."""
    registry = client(idle_timeout=0.2)
    reference = fake.reference("app")
    fake.script("GET", "/v2/app/", fault)
    if path == "resolve":
        fake.script("HEAD", "/v2/app/", status(405))
    with pytest.raises(kind) as caught:
        await ask_for(path, registry, reference, app)
    assert caught.value.retryable is retryable


async def test_what_a_registry_says_about_a_refusal_is_a_note(fake: FakeRegistry, client: NewClient) -> None:
    """`errors[].message` of a 403, beside our own sentence."""
    fake.script("", "/manifests/", status(403), status(403))
    with pytest.raises(AccessDenied) as caught:
        await client().resolve(fake.reference("app"))
    assert caught.value.__notes__ == [f"{fake.address} says: fault: scripted 403"]


async def test_an_error_body_without_end_is_cut(fake: FakeRegistry, client: NewClient) -> None:
    """R13: 64 KiB of an error are enough."""
    huge = Reply(500, b"x" * 5_000_000, {"Content-Type": "application/json"}, length="chunked")
    fake.script("", "/manifests/", status(405), answering(huge))
    with pytest.raises(RegistryUnavailable, match=r"500 \(Internal Server Error\)"):
        await client().resolve(fake.reference("app"))
