"""TLS with real parts: docker-registry and nginx with certificates of an authority made by openssl."""

from __future__ import annotations

import re
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from aiodocker_lite.errors import RegistryMisbehaved, RegistryUnavailable, RegistryUnreachable, UnusableConfig
from aiodocker_lite.reference import Reference
from aiodocker_lite.registry.client import HttpRegistry
from aiodocker_lite.registry.credentials import Credential
from aiodocker_lite.testing.faults import redirected
from aiodocker_lite.testing.images import Image, write_layout
from aiodocker_lite.testing.messages import basic
from aiodocker_lite.testing.registry import FakeRegistry
from tests.fakes.certificates import Authority
from tests.fakes.clients import NewClient
from tests.fakes.processes import RealRegistry, free_port, running_registry
from tests.fakes.servers import nginx


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Signs servers and clients."""
    return Authority.make(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Another authority."""
    return Authority.make(tmp_path_factory.mktemp("stranger"))


@pytest.fixture(scope="module")
def layout(app: Image, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is pushed."""
    return write_layout(tmp_path_factory.mktemp("layout"), {"latest": app})


@pytest.fixture(scope="module")
def secure(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    """Docker's registry with TLS, that wants a client certificate."""
    certificate, key = authority.issue("registry")
    tls = {"certificate": str(certificate), "key": str(key), "clientcas": [str(authority.certificate)]}
    with running_registry(tmp_path_factory.mktemp("secure"), {}, tls) as address:
        yield RealRegistry(address)


def fill(directory: Path, *files: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copy(file, directory)
    return directory


async def read(client: HttpRegistry, reference: Reference, app: Image) -> None:
    """The image, from its name to its layer."""
    promised = await client.resolve(reference)
    assert await client.manifest(reference, promised) == app.manifest.raw
    async with client.open_blob(reference, app.layers[0].descriptor) as chunks:
        assert b"".join([chunk async for chunk in chunks]) == app.layers[0].raw


# --- docker-registry with client certificates ----------------------------------------------------


@pytest.mark.parametrize("where", ["docker", "containers", "containerd", "hosts.toml", "--cert-dir"])
async def test_a_registry_that_wants_a_client_certificate(
    secure: RealRegistry,
    authority: Authority,
    layout: Path,
    app: Image,
    client: NewClient,
    tmp_path: Path,
    where: str,
) -> None:
    """From every place where people keep it; the registry is on this machine and speaks TLS."""
    certificate, key = authority.issue("client")
    certificates = fill(tmp_path / "mine", authority.certificate, certificate, key)
    name = Reference.parse(secure.push(layout, "team/app:v1", certificates=certificates))
    settings: dict[str, object] = {"config_dirs": (tmp_path / "etc",)}
    if where == "--cert-dir":
        settings["cert_dir"] = certificates
    elif where == "hosts.toml":
        text = f'ca = "{authority.certificate}"\nclient = [["{certificate}", "{key}"]]\n'
        (fill(tmp_path / "etc/containerd/certs.d" / secure.address) / "hosts.toml").write_text(text)
    else:
        fill(tmp_path / "etc" / where / "certs.d" / secure.address, *certificates.iterdir())
    await read(client(**settings), name, app)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ((), r"authority that is not trusted here; .*/etc/docker/certs\.d/localhost:\d+/ca\.crt"),
        (
            ("ca.crt",),
            r"wants a client certificate: put client\.cert and client\.key into /etc/docker/certs\.d/localhost",
        ),
        (("ca.crt", "other.cert", "other.key"), "does not accept our client certificate"),
    ],
)
async def test_what_is_missing_is_said(
    secure: RealRegistry, authority: Authority, stranger: Authority, client: NewClient, tmp_path: Path,
    files: tuple[str, ...], reason: str,
) -> None:  # fmt: skip
    """The authority, the client's certificate, the right client's certificate."""
    stranger.issue("other")
    owner = {"ca.crt": authority}
    fill(tmp_path, *(owner.get(name, stranger).directory / name for name in files))
    for _ in range(500):
        with pytest.raises(RegistryUnavailable) as caught:
            await client(cert_dir=tmp_path).resolve(Reference.parse(f"{secure.address}/team/app:v1"))
        # In TLS 1.3 the server says why after we have begun to speak, and its goodbye may overtake that.
        if "connection was cut" not in str(caught.value):
            break
    assert isinstance(caught.value, RegistryUnreachable)
    assert re.search(reason, str(caught.value))


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("ca.crt", b"not a certificate", "ca.crt: it is not an authority's certificate in PEM"),
        ("client.key", b"not a key", "client.cert: it is not a certificate in PEM with its unencrypted key"),
    ],
)
async def test_a_broken_file_is_named(
    secure: RealRegistry,
    authority: Authority,
    client: NewClient,
    tmp_path: Path,
    name: str,
    content: bytes,
    reason: str,
) -> None:
    """Before anything is sent."""
    fill(tmp_path, authority.certificate, *authority.issue("client"))
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnusableConfig, match=reason):
        await client(cert_dir=tmp_path).resolve(Reference.parse(f"{secure.address}/app"))


# --- servers with something wrong -----------------------------------------------------------------


@asynccontextmanager
async def serving(
    context: ssl.SSLContext, app: Image, host: str = "127.0.0.1"
) -> AsyncIterator[FakeRegistry]:
    async with FakeRegistry(tls=context, host=host) as fake:
        fake.add("app", "latest", app)
        yield fake


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        ({"days": -1}, "its certificate has expired"),
        ({"alternative": "DNS:other.example"}, "its certificate is for other names"),
    ],
)
async def test_which_certificate_is_wrong(
    authority: Authority, app: Image, client: NewClient, certificate: dict[str, Any], reason: str
) -> None:
    """R08: and there is no way around it but to say so; a registry on this machine is not excused."""
    async with serving(authority.server("wrong", **certificate), app) as fake:
        with pytest.raises(RegistryUnreachable, match=f"cannot reach {fake.address}: {reason}"):
            await client(cert_dir=fill(authority.directory / "only", authority.certificate)).resolve(
                fake.reference("app")
            )
        assert fake.requests == []
        await read(client(insecure=True), fake.reference("app"), app)


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
async def test_the_environment_names_authorities(
    authority: Authority, app: Image, client: NewClient, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """A file, or a directory with hashed names; one that is not there is not passed over."""
    directory = fill(authority.directory / "hashed", authority.certificate)
    subprocess.run(["openssl", "rehash", directory], check=True)
    path = authority.certificate if variable == "SSL_CERT_FILE" else directory
    async with serving(authority.server("registry"), app) as fake:
        monkeypatch.setenv(variable, str(path))
        await read(client(config_dirs=()), fake.reference("app"), app)
        monkeypatch.setenv(variable, f"{path}-nothing")
        with pytest.raises(UnusableConfig, match=f"cannot use {variable}: '.*-nothing' is not there"):
            await client(config_dirs=()).resolve(fake.reference("app"))


async def test_ipv6(authority: Authority, app: Image, client: NewClient) -> None:
    """By its literal address, with TLS and without."""
    trusted = fill(authority.directory / "only", authority.certificate)
    async with serving(authority.server("six", alternative="IP:::1"), app, host="::1") as fake:
        await read(client(cert_dir=trusted), Reference.parse(f"[::1]:{fake.port}/app"), app)
    async with FakeRegistry(host="::1") as plain:
        plain.add("app", "latest", app)
        await read(client(), Reference.parse(f"[::1]:{plain.port}/app"), app)


# --- other hosts that a registry sends us to ------------------------------------------------------


async def test_storage_of_the_same_private_authority_is_trusted(
    authority: Authority, app: Image, client: NewClient, tmp_path: Path
) -> None:
    """A private network has one authority for all; the client's certificate is not for the storage."""
    fill(tmp_path / "docker/certs.d" / "none")
    async with (
        serving(authority.server("storage"), app) as storage,
        serving(authority.server("registry"), app) as fake,
    ):
        fill(tmp_path / "docker/certs.d" / fake.address, authority.certificate)
        target = f"https://{storage.address}/v2/app/blobs/{app.layers[0].digest}"
        fake.script("GET", "/blobs/", redirected(target))
        await read(client(config_dirs=(tmp_path,)), fake.reference("app"), app)
        assert len(storage.requests) == 1


async def test_a_client_certificate_is_for_its_own_host(
    authority: Authority, stranger: Authority, app: Image, client: NewClient, tmp_path: Path
) -> None:
    """R01: it says who we are, as a password does; a host that wants one, and is no registry of ours, gets none."""
    wanting = authority.server("storage", client=authority)
    async with (
        serving(wanting, app) as storage,
        serving(authority.server("registry", client=authority), app) as fake,
    ):
        files = authority.certificate, *authority.issue("client")
        fill(tmp_path / "docker/certs.d" / fake.address, *files)
        target = f"https://{storage.address}/v2/app/blobs/{app.layers[0].digest}"
        fake.script("GET", "/blobs/", *[redirected(target)] * 2)
        with pytest.raises(
            RegistryUnavailable, match=rf"{storage.address} \(where {fake.address} sends us\)"
        ):
            await read(client(config_dirs=(tmp_path,)), fake.reference("app"), app)
        assert storage.requests == []
        fill(tmp_path / "docker/certs.d" / storage.address, *files)
        await read(client(config_dirs=(tmp_path,)), fake.reference("app"), app)


async def test_a_token_server_of_the_same_private_authority_is_trusted(
    authority: Authority, app: Image, client: NewClient, tmp_path: Path
) -> None:
    """As its registry is; and it is asked over https only."""
    me = Credential("me", "s3cret", "a test")
    async with (
        serving(authority.server("tokens"), app) as tokens,
        serving(authority.server("registry"), app) as fake,
    ):
        fill(tmp_path / "docker/certs.d" / fake.address, authority.certificate)
        fake.challenge_bearer(tokens)
        await read(client(me, config_dirs=(tmp_path,)), fake.reference("app"), app)
        assert {seen.secret for seen in tokens.requests} == {basic("me", "s3cret")}


async def test_an_insecure_registry_does_not_make_others_insecure(
    authority: Authority, fake: FakeRegistry, app: Image, client: NewClient, tmp_path: Path
) -> None:
    """`insecure-registries` is about one host."""
    async with (
        serving(authority.server("registry"), app) as listed,
        serving(authority.server("other"), app) as other,
    ):
        fill(tmp_path / "docker")
        (tmp_path / "docker" / "daemon.json").write_text(f'{{"insecure-registries": ["{listed.address}"]}}')
        registry = client(config_dirs=(tmp_path,))
        await read(registry, listed.reference("app"), app)
        with pytest.raises(RegistryUnreachable, match="not trusted here"):
            await registry.resolve(other.reference("app"))


async def test_an_insecure_registry_that_speaks_tls_does_not_lead_to_http(
    authority: Authority, fake: FakeRegistry, app: Image, client: NewClient
) -> None:
    """R21: https to http is refused whatever is permitted."""
    async with serving(authority.server("registry"), app) as secure:
        secure.script("GET", "/blobs/", redirected(f"{fake.url}/v2/app/blobs/{app.layers[0].digest}"))
        with pytest.raises(RegistryMisbehaved, match="redirects to plain http"):
            await read(client(insecure=True), secure.reference("app"), app)
    assert fake.requests == []


# --- nginx ------------------------------------------------------------------------------------------


def behind_nginx(authority: Authority, registry: RealRegistry) -> str:
    """TLS ends in nginx, and it passes on to a registry."""
    certificate, key = authority.issue("nginx")
    return (
        f"ssl_certificate {certificate}; ssl_certificate_key {key};"
        f"location /v2/ {{ proxy_pass http://{registry.address}; proxy_set_header Host $http_host; }}"
    )


async def test_nginx_in_front(
    open_registry: RealRegistry,
    authority: Authority,
    layout: Path,
    app: Image,
    client: NewClient,
    tmp_path: Path,
) -> None:
    """By its own name, with its own certificate."""
    open_registry.push(layout, "behind/app:v1")
    with nginx(tmp_path / "nginx", behind_nginx(authority, open_registry), listen="ssl") as address:
        trusted = fill(tmp_path / "trusted", authority.certificate)
        await read(client(cert_dir=trusted), Reference.parse(f"{address}/behind/app:v1"), app)


async def test_nginx_that_compresses_what_it_passes_on(
    open_registry: RealRegistry, layout: Path, app: Image, client: NewClient, tmp_path: Path
) -> None:
    """R22: two in a row, of which the outer asks the inner for gzip, whatever we say."""
    open_registry.push(layout, "squeezed/app:v1")
    inner, port = tmp_path / "inner", free_port()
    squeeze = "gzip on; gzip_types *; gzip_min_length 1; gzip_proxied any; gzip_http_version 1.0;"
    servers = (
        f"server {{ listen 127.0.0.1:{port}; {squeeze} location / {{ proxy_pass http://{open_registry.address};"
        " proxy_set_header Host $http_host; } }"
    )
    outer = (
        f"location / {{ proxy_pass http://127.0.0.1:{port}; proxy_set_header Accept-Encoding gzip;"
        " proxy_set_header Host $http_host; }"
    )
    with nginx(inner, outer, servers) as address:
        registry, reference = client(), Reference.parse(f"{address}/squeezed/app:v1")
        await read(registry, reference, app)
        async with registry.open_blob(reference, app.layers[0].descriptor, 1000) as chunks:
            assert b"".join([chunk async for chunk in chunks]) == app.layers[0].raw[1000:]
        curl = ["curl", "-sI", "-X", "GET", f"http://{address}/v2/squeezed/app/blobs/{app.config.digest}"]
        done = subprocess.run(curl, capture_output=True, text=True, check=True)
        assert "Content-Encoding: gzip" in done.stdout


async def test_nginx_as_a_mirror_in_front_of_a_registry(
    open_registry: RealRegistry,
    authority: Authority,
    layout: Path,
    app: Image,
    client: NewClient,
    tmp_path: Path,
) -> None:
    """It has the manifests, and no blobs: those come from the registry itself."""
    name = Reference.parse(open_registry.push(layout, "mirrored/app:v1"))
    blobs = "location ~ /blobs/ { return 404; }"
    with nginx(tmp_path / "nginx", behind_nginx(authority, open_registry) + blobs, listen="ssl") as address:
        fill(tmp_path / "docker/certs.d" / address, authority.certificate)
        (fill(tmp_path / "containers") / "registries.conf").write_text(
            f'[[registry]]\nlocation="{open_registry.address}"\nmirror=[{{location="{address}"}}]\n'
        )
        await read(client(config_dirs=(tmp_path,)), name, app)
        lines = (tmp_path / "nginx" / "access.log").read_text().splitlines()
    # First, whether it speaks TLS at all: it is on this machine.
    first, *asked = [line.split() for line in lines]
    assert first[:3] == ["GET", "/v2/", "200"]
    assert [words[0:3:2] for words in asked] == [["HEAD", "200"], ["GET", "200"], ["GET", "404"]]
