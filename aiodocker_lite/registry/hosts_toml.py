"""`hosts.toml` of containerd: `certs.d/HOST:PORT/`, with servers in the order in which they are asked.

containerd's docs/hosts.md. A directory without that file has certificates in docker's manner.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from yarl import URL

from aiodocker_lite.registry.configfile import Section, read_config
from aiodocker_lite.registry.trust import Trust, certificates_in

_CAPABILITIES = {"pull", "resolve", "push", "referrers"}


@dataclass(frozen=True, slots=True)
class Server:
    """A place to ask, as a table of the file describes it."""

    url: URL | None
    """The root of its API; None is the registry itself."""
    trust: Trust
    pulls: bool
    resolves: bool
    headers: tuple[tuple[str, str], ...]


def read_servers(directories: Sequence[Path], registry: str) -> list[Server] | None:
    """The mirrors of a registry and then the registry, or None if nothing is said. Raises UnusableConfig."""
    for parent in directories:
        for name in _names(registry):
            directory = parent / "containerd" / "certs.d" / name
            if directory.is_dir():
                config = read_config(directory / "hosts.toml")
                if config is not None:
                    return list(_servers(config))
                return [Server(None, certificates_in(directory), True, True, ())]
    return None


def _names(registry: str) -> Iterator[str]:
    host, colon, port = registry.rpartition(":")
    if colon and not port.endswith("]"):
        yield f"{host}_{port}_"
    yield registry
    yield "_default"


def _servers(config: Section) -> Iterator[Server]:
    hosts = config.section("host")
    for address in hosts.keys:
        yield _server(address, hosts.section(address))
    yield _server(config.value("server", str, ""), config)


def _server(address: str, table: Section) -> Server:
    skip = table.value("skip_verify", bool, False)
    url = _root(address, table) if address else None
    # Plain http with a setting for TLS means: whichever of the two it speaks.
    is_http = url is not None and url.scheme == "http"
    if url is not None and is_http and skip:
        url = url.with_scheme("https").with_port(url.port)
    trust = Trust(
        verify=not skip,
        plain_http=is_http,
        authorities=tuple(table.path.parent / path for path in table.texts("ca")),
        pairs=tuple(_pairs(table)),
    )
    can = {text.lower() for text in table.texts("capabilities")} or _CAPABILITIES
    if not can <= _CAPABILITIES:
        raise table.wrong("capabilities", f"has '{min(can - _CAPABILITIES)}', which nobody knows")
    header = table.section("header")
    headers = tuple((name, ", ".join(header.texts(name))) for name in header.keys)
    # The registry itself, where it is not named, can do everything.
    pulls = url is None or "pull" in can
    return Server(url, trust, pulls, pulls and (url is None or "resolve" in can), headers)


def _root(address: str, table: Section) -> URL:
    """The root of the API: `/v2` is at the end of it, unless `override_path` says that it is not."""
    try:
        url = URL(address if address.startswith("http") else f"https://{address}")
        origin = url.origin()
    except ValueError as error:
        raise table.wrong("server", f"'{address}' is no URL") from error
    path = PurePosixPath("/", url.path.strip("/"))
    if not table.value("override_path", bool, False) and path.name != "v2":
        path /= "v2"
    return origin.with_path(str(path))


def _pairs(table: Section) -> Iterator[tuple[Path, Path]]:
    """A file, files, or pairs of files; the key is in the certificate's file where no other is named."""
    clients = table.raw("client")
    for client in clients if isinstance(clients, list) else [clients]:
        pair = [client, ""] if isinstance(client, str) else client
        match pair:
            case [str(certificate), str(key)]:
                path = table.path.parent / certificate
                yield path, (table.path.parent / key if key else path)
            case _:
                raise table.wrong("client", "is not a file, a list of files, or a list of pairs of files")
