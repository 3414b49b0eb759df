"""Connections: where they may go, through which proxy, and with which certificates."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
import anyio
from aiohttp.connector import AddrInfoType
from yarl import URL

from aiodocker_lite.errors import UnusableConfig
from aiodocker_lite.registry.addresses import is_public, literal
from aiodocker_lite.registry.failures import ProxyFailed, proxy_refused
from aiodocker_lite.registry.lookup import Resolver
from aiodocker_lite.registry.proxies import SOCKS, Proxies
from aiodocker_lite.registry.trust import Trust
from aiodocker_lite.settings import Settings

_CONNECT_MAX = 30.0
_HEADER_MAX = 32 * 1024
_BUFFER = 256 * 1024
"""Bytes of a body that are kept before the socket is left alone; more costs memory and saves no time."""
_BESIDES = 4
"""Connections to one host besides those of all download slots: a manifest never waits for a layer."""


class NotPublic(OSError):
    """An address that strangers may not send us to."""


class Response(aiohttp.ClientResponse):
    """Remembers who sent it, for a short body gives its connection back before anybody can ask."""

    from_public = False

    async def start(self, connection: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
        peer = connection.transport.get_extra_info("peername") if connection.transport else None
        self.from_public = peer is not None and is_public(peer[0])
        return await super().start(connection)


class Connections:
    """The connections of one engine, to be closed by who made it."""

    def __init__(self, settings: Settings) -> None:
        self._idle = settings.idle_timeout
        self._per_host = settings.downloads + _BESIDES
        self._proxies = Proxies(os.environ)
        self._sessions: dict[tuple[bool, URL | None], aiohttp.ClientSession] = {}

    def proxy_for(self, url: URL) -> URL | None:
        """The proxy that a URL is asked through. Raises UnusableConfig."""
        return self._proxies.proxy_for(url)

    async def close(self) -> None:
        """End all of them."""
        with anyio.CancelScope(shield=True):
            for session in self._sessions.values():
                await session.close()
        self._sessions.clear()

    async def request(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        trust: Trust,
        *,
        public_only: bool,
        total: float | None,
        form: Mapping[str, str] | None = None,
    ) -> Response:
        """Send one request and wait for the head of its answer.

        Raises NotPublic, ProxyFailed, UnusableConfig, and what aiohttp raises.
        """
        proxy = self.proxy_for(url)
        if proxy is not None and public_only and not _may_be_public(url):
            raise NotPublic("the address is not public")
        is_socks = proxy is not None and proxy.scheme in SOCKS
        # What is dialled is a proxy's address; the proxy decides whether it wants to go on from there.
        session = self._session(public_only and proxy is None, proxy if is_socks else None)
        timeout = aiohttp.ClientTimeout(
            total=total, connect=None, sock_connect=min(self._idle, _CONNECT_MAX), sock_read=self._idle
        )
        async with _socks_errors(is_socks):
            response = await session.request(
                method,
                url,
                headers=headers,
                data=form,
                timeout=timeout,
                allow_redirects=False,
                ssl=trust.context() if "https" in (url.scheme, proxy and proxy.scheme) else True,
                proxy=None if is_socks else proxy,
            )
        assert isinstance(response, Response)
        if proxy is not None:
            response.from_public = _may_be_public(url)
            if response.status == 407:
                response.release()
                raise proxy_refused(response.status)
        return response

    def _session(self, public_only: bool, socks: URL | None) -> aiohttp.ClientSession:
        """Sets of connections: what was checked when it was dialled is not mixed with what was not."""
        if (public_only, socks) not in self._sessions:
            self._sessions[public_only, socks] = aiohttp.ClientSession(
                connector=_socks_connector(socks, self._per_host)
                if socks
                else _connector(public_only, self._per_host),
                response_class=Response,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # a blob is the bytes that have the digest
                read_bufsize=_BUFFER,
                max_line_size=_HEADER_MAX,  # signed URLs are long
                max_field_size=_HEADER_MAX,
                headers={"User-Agent": "aiodocker-lite", "Accept-Encoding": "identity"},
            )
        return self._sessions[public_only, socks]


def _connector(public_only: bool, per_host: int) -> aiohttp.TCPConnector:
    return aiohttp.TCPConnector(
        resolver=Resolver(),
        limit=0,
        limit_per_host=per_host,
        socket_factory=_public_socket if public_only else None,
    )


def _public_socket(info: AddrInfoType) -> socket.socket:
    """A socket for the address that is about to be dialled: no name can say one thing and be another."""
    family, kind, protocol, _, address = info
    if not is_public(str(address[0])):
        raise NotPublic("the address is not public")
    return socket.socket(family, kind, protocol)


def _may_be_public(url: URL) -> bool:
    """What lies behind a proxy: a name is one of the internet, for we do not see where it leads."""
    host = url.host or ""
    return literal(host) is None or is_public(host)


def _socks_connector(proxy: URL, per_host: int) -> aiohttp.TCPConnector:
    try:
        import python_socks
        from aiohttp_socks import ProxyConnector
    except ImportError as error:
        raise UnusableConfig(
            "the SOCKS proxy",
            "the Python package aiohttp-socks is not installed: pip install 'aiodocker-lite[socks]'",
        ) from error
    is_5 = proxy.scheme.startswith("socks5")
    return ProxyConnector(
        host=proxy.host or "",
        port=proxy.port or 0,
        proxy_type=python_socks.ProxyType.SOCKS5 if is_5 else python_socks.ProxyType.SOCKS4,
        username=proxy.user,
        password=proxy.password,
        rdns=is_5 or proxy.scheme == "socks4a",
        limit=0,
        limit_per_host=per_host,
    )


@asynccontextmanager
async def _socks_errors(is_socks: bool) -> AsyncIterator[None]:
    if not is_socks:
        yield
        return
    from aiohttp_socks import ProxyConnectionError, ProxyError, ProxyTimeoutError

    try:
        yield
    except ProxyConnectionError as error:
        raise ProxyFailed("cannot be reached", may_help=False) from error
    except ProxyTimeoutError as error:
        raise ProxyFailed("does not answer in time", may_help=True) from error
    except asyncio.IncompleteReadError as error:
        raise ProxyFailed("does not speak this kind of SOCKS", may_help=False) from error
    except ProxyError as error:
        raise ProxyFailed(f"refuses to connect to it: {error}", may_help=True) from error
