"""Through real proxies: tinyproxy and microsocks, honest, locked, and not there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from aiodocker_lite.errors import (
    RegistryError,
    RegistryUnavailable,
    RegistryUnreachable,
    UnusableConfig,
)
from aiodocker_lite.reference import Reference
from aiodocker_lite.registry.client import HttpRegistry
from aiodocker_lite.registry.credentials import Credential
from aiodocker_lite.testing.images import Image
from aiodocker_lite.testing.messages import basic
from aiodocker_lite.testing.registry import FakeRegistry
from tests.fakes.certificates import Authority
from tests.fakes.clients import NewClient
from tests.fakes.processes import free_port
from tests.fakes.servers import microsocks, tinyproxy

ME = Credential("me", "s3cret", "a test")
ANYWHERE = "0.0.0.0"
"""Connects to this machine, and is no loopback name: such a host is asked through a proxy."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Signs the registry."""
    return Authority.make(tmp_path_factory.mktemp("authority"))


@pytest.fixture(autouse=True)
def environ(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No proxies but the test's own."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return monkeypatch


@pytest.fixture
async def secure(authority: Authority, app: Image) -> AsyncIterator[FakeRegistry]:
    """A registry that speaks TLS."""
    async with FakeRegistry(tls=authority.server("registry", alternative=f"IP:{ANYWHERE}")) as fake:
        fake.add("app", "latest", app)
        yield fake


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A forward proxy that lets everybody through, and what it writes down."""
    directory = tmp_path_factory.mktemp("tinyproxy")
    with tinyproxy(directory) as address:
        yield address, directory / "proxy.log"


def anywhere(fake: FakeRegistry) -> Reference:
    return Reference.parse(f"{ANYWHERE}:{fake.port}/app")


async def read(client: HttpRegistry, reference: Reference, app: Image) -> None:
    promised = await client.resolve(reference)
    assert await client.manifest(reference, promised) == app.manifest.raw
    async with client.open_blob(reference, app.layers[0].descriptor) as chunks:
        assert b"".join([chunk async for chunk in chunks]) == app.layers[0].raw


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
async def test_https_goes_through_a_tunnel(
    secure: FakeRegistry, authority: Authority, app: Image, client: NewClient, proxy: tuple[str, Path],
    environ: pytest.MonkeyPatch, variable: str,
) -> None:  # fmt: skip
    """CONNECT; the certificate is the registry's, and the proxy sees no secret."""
    secure.challenge_basic("me", "s3cret")
    environ.setenv(variable, f"http://{proxy[0]}")
    await read(client(ME, cert_dir=trusted(authority)), anywhere(secure), app)
    assert f"CONNECT {ANYWHERE}:{secure.port}" in proxy[1].read_text()


def trusted(authority: Authority) -> Path:
    directory = authority.directory / "trusted"
    directory.mkdir(exist_ok=True)
    (directory / "ca.crt").write_bytes(authority.certificate.read_bytes())
    return directory


async def test_plain_http_goes_through_a_proxy(
    fake: FakeRegistry, app: Image, client: NewClient, proxy: tuple[str, Path], environ: pytest.MonkeyPatch
) -> None:
    """Where that is permitted, and https is not spoken."""
    environ.setenv("HTTP_PROXY", proxy[0])
    environ.setenv("HTTPS_PROXY", proxy[0])
    await read(client(insecure=True), anywhere(fake), app)
    assert f"GET http://{ANYWHERE}:{fake.port}/v2/app/blobs/" in proxy[1].read_text()


async def test_who_is_exempt_is_asked_at_once(
    secure: FakeRegistry, app: Image, client: NewClient, environ: pytest.MonkeyPatch
) -> None:
    """By `NO_PROXY`, or as this machine."""
    environ.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    environ.setenv("NO_PROXY", "0.0.0.0/8")
    await read(client(insecure=True), anywhere(secure), app)
    environ.delenv("NO_PROXY")
    await read(client(insecure=True), secure.reference("app"), app)


# --- proxies that refuse ---------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_a_proxy_that_is_not_there(client: NewClient, environ: pytest.MonkeyPatch, scheme: str) -> None:
    """It is named, and its password is not."""
    port = free_port()
    environ.setenv("HTTPS_PROXY", f"{scheme}://me:s3cret@127.0.0.1:{port}")
    with pytest.raises(
        RegistryUnreachable,
        match=rf"cannot reach r\.example: the proxy 127\.0\.0\.1:{port} cannot be reached",
    ) as caught:
        await client().resolve(Reference.parse("r.example/app"))
    assert_no_secret(caught.value)


def assert_no_secret(error: BaseException | None) -> None:
    """Neither in the error nor in what it was made of."""
    while error is not None:
        assert "s3cret" not in f"{error} {error!r} {getattr(error, 'request_info', '')}"
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("user", ["", "user:wrong-s3cret@"])
@pytest.mark.parametrize("insecure", [False, True])
async def test_a_proxy_that_wants_a_password(
    secure: FakeRegistry, fake: FakeRegistry, app: Image, client: NewClient, tmp_path: Path,
    environ: pytest.MonkeyPatch, insecure: bool, user: str,
) -> None:  # fmt: skip
    """407 is one sentence, in a tunnel and without; with the password it works, and no registry sees that."""
    registry = fake if insecure else secure
    registry.challenge_basic("me", "s3cret")
    with tinyproxy(tmp_path / "proxy", "BasicAuth user of-proxy") as address:
        environ.setenv("ALL_PROXY", f"http://{user}{address}")
        with pytest.raises(
            RegistryUnreachable,
            match=f"the proxy {address} does not accept the user name and password in its URL",
        ) as caught:
            await client(ME, insecure=True).resolve(anywhere(registry))
        assert_no_secret(caught.value)
        assert registry.requests == []
        environ.setenv("ALL_PROXY", f"http://user:of-proxy@{address}")
        await read(client(ME, insecure=True), anywhere(registry), app)
    assert {seen.secret for seen in registry.requests} <= {None, basic("me", "s3cret")}
    assert not [seen for seen in registry.requests if "Proxy-Authorization" in seen.headers]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("http", "the proxy {} answers with plain http, not https: its URL has to begin with http://"),
        ("tinyproxy", "there is no connection to it in time through the proxy {}"),
        (
            "untrusted",
            "the proxy {} is not trusted: its certificate is of an authority that is not trusted here",
        ),
    ],
)
@pytest.mark.parametrize("target", ["r.example", ANYWHERE])
async def test_a_proxy_that_is_called_https_and_is_not(
    fake: FakeRegistry, secure: FakeRegistry, client: NewClient, proxy: tuple[str, Path],
    environ: pytest.MonkeyPatch, kind: str, reason: str, target: str,
) -> None:  # fmt: skip
    """It is the proxy that does not speak TLS, says nothing to it, or is not trusted; the registry was never asked."""
    address = {
        "http": f"127.0.0.1:{fake.port}",
        "tinyproxy": proxy[0],
        "untrusted": f"127.0.0.1:{secure.port}",
    }[kind]
    for variable in ("HTTPS_PROXY", "HTTP_PROXY"):
        environ.setenv(variable, f"https://me:s3cret@{address}")
    with pytest.raises(RegistryUnreachable) as caught:
        await client(config_dirs=(), idle_timeout=1.0).resolve(Reference.parse(f"{target}/app"))
    assert str(caught.value) == f"cannot reach {target}: {reason.format(address)}"
    assert_no_secret(caught.value)


async def test_a_proxy_that_refuses(client: NewClient, tmp_path: Path, environ: pytest.MonkeyPatch) -> None:
    """By its rules, or because there is nobody behind it."""
    (tmp_path / "rules").write_text("good\n")
    rules = f'Filter "{tmp_path}/rules"', "FilterDefaultDeny Yes"
    with tinyproxy(tmp_path / "proxy", *rules) as address:
        environ.setenv("HTTPS_PROXY", f"http://{address}")
        with pytest.raises(
            RegistryUnreachable, match=f"the proxy {address} refuses to connect to it: it answered 403"
        ):
            await client().resolve(Reference.parse("bad.example/app"))
        with pytest.raises(
            RegistryUnavailable, match=f"the proxy {address} refuses to connect to it: it answered 50"
        ):
            await client().resolve(Reference.parse("good.invalid/app"))


# --- SOCKS -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
async def test_socks(
    secure: FakeRegistry, fake: FakeRegistry, authority: Authority, app: Image, client: NewClient, tmp_path: Path,
    environ: pytest.MonkeyPatch, scheme: str,
) -> None:  # fmt: skip
    """TLS and plain http; the right certificate is still asked for."""
    with microsocks(tmp_path) as address:
        environ.setenv("ALL_PROXY", f"{scheme}://{address}")
        await read(client(cert_dir=trusted(authority)), anywhere(secure), app)
        await read(client(insecure=True), anywhere(fake), app)
        with pytest.raises(RegistryUnreachable, match="authority that is not trusted here"):
            await client(config_dirs=()).resolve(anywhere(secure))


async def test_socks_with_a_password(
    secure: FakeRegistry, app: Image, client: NewClient, tmp_path: Path, environ: pytest.MonkeyPatch
) -> None:
    """A wrong one is one sentence."""
    with microsocks(tmp_path, "-u", "user", "-P", "of-proxy") as address:
        environ.setenv("ALL_PROXY", f"socks5://user:s3cret@{address}")
        with pytest.raises(RegistryError, match=f"the proxy {address} refuses to connect") as caught:
            await client(insecure=True).resolve(anywhere(secure))
        assert_no_secret(caught.value)
        environ.setenv("ALL_PROXY", f"socks5://user:of-proxy@{address}")
        await read(client(insecure=True), anywhere(secure), app)


async def test_another_kind_of_socks_is_called_that(
    tmp_path: Path, fake: FakeRegistry, app: Image, client: NewClient, environ: pytest.MonkeyPatch
) -> None:
    """microsocks speaks version 5 only, and hangs up."""
    with microsocks(tmp_path) as address:
        environ.setenv("ALL_PROXY", f"socks4://{address}")
        with pytest.raises(
            RegistryUnreachable, match=f"the proxy {address} does not speak this kind of SOCKS"
        ):
            await client(insecure=True).resolve(anywhere(fake))


def test_socks_without_its_package_is_one_sentence() -> None:
    """It is an extra."""
    script = (
        "import sys, anyio, os; sys.modules['aiohttp_socks'] = None; os.environ['ALL_PROXY'] = 'socks5://h:1'\n"
        "from aiodocker_lite import Engine, Settings\n"
        "from aiodocker_lite.registry.client import HttpRegistry; from aiodocker_lite.reference import Reference\n"
        "from tests.fakes.clients import knowing\n"
        "async def main():\n"
        "    async with HttpRegistry(Settings(), credentials=knowing(None)) as registry:\n"
        "        await registry.resolve(Reference.parse('r.example/app'))\n"
        "try: anyio.run(main)\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=root
    )
    assert done.stdout.startswith(f"{UnusableConfig.__name__} cannot use the SOCKS proxy: the Python package")


# --- redirects behind a proxy ------------------------------------------------------------------------

_BEHIND = """
import anyio, os, sys
from pathlib import Path
from aiodocker_lite.reference import Reference
from aiodocker_lite.registry.client import HttpRegistry
from aiodocker_lite.settings import Settings
from aiodocker_lite.testing.images import image, layer
from aiodocker_lite.testing.faults import redirected
from aiodocker_lite.testing.registry import FakeRegistry
from tests.fakes.clients import knowing
from tests.fakes.servers import tinyproxy

async def main(address):
    os.environ["ALL_PROXY"] = f"http://{address}"
    async with FakeRegistry() as fake:
        app = image(layer({"a": b"b"}))
        fake.add("app", "latest", app)
        for host in ("169.254.169.254", "10.1.2.3", "[fd00::1]", "0.0.0.0", "localhost", "named.example"):
            url = f"http://{host}:{fake.port}/v2/app/manifests/latest?redirected"
            fake.script("HEAD", "/manifests/", redirected(url))
            async with HttpRegistry(Settings(insecure=True), credentials=knowing(None)) as registry:
                try:
                    await registry.resolve(Reference.parse(f"named.example:{fake.port}/app"))
                except Exception as error:
                    print(host, type(error).__name__, error)
                else:
                    print(host, "went there")
            fake.forget()

with tinyproxy(Path(sys.argv[1])) as address:
    anyio.run(main, address)
"""


@pytest.mark.root
def test_a_name_behind_a_proxy_is_the_internet_s(tmp_path: Path) -> None:
    """R21: where it leads we do not see; so it may not send us, or the proxy, into a private network."""
    (tmp_path / "hosts").write_text("127.0.0.1 localhost named.example\n")
    setup = f'mount --bind {tmp_path}/hosts /etc/hosts && exec "$@"'
    command = ["unshare", "--mount", "sh", "-ec", setup, "sh", sys.executable, "-c", _BEHIND, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    *refused, named = done.stdout.splitlines()
    assert len(refused) == 5, done.stdout
    assert all("inside this network, where a registry of the internet" in line for line in refused), (
        done.stdout
    )
    assert named == "named.example went there"
