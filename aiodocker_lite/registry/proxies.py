"""Which proxy a host is asked through: ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY``.

As docker reads them (Go's httpproxy), upper case before lower, and ``ALL_PROXY`` as curl has it.
This machine is never asked through a proxy.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from yarl import URL

from aiodocker_lite.errors import UnusableConfig
from aiodocker_lite.registry.addresses import is_loopback, literal

SOCKS = {"socks4", "socks4a", "socks5", "socks5h"}
_KNOWN = {"http", "https"} | SOCKS
_DEFAULT_PORTS = {**dict.fromkeys(SOCKS, 1080), "http": 80, "https": 443}


class Proxies:
    """What the environment says about proxies."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._exempt = [text.strip().lower() for text in self._read("NO_PROXY")[1].split(",") if text.strip()]

    def proxy_for(self, url: URL) -> URL | None:
        """The proxy for a URL, user name and password in it; None to connect at once. Raises UnusableConfig."""
        host, port = (url.host or "").lower(), url.port
        if is_loopback(host) or any(_is_exempt(host, port, entry) for entry in self._exempt):
            return None
        name, text = self._read("HTTP_PROXY" if url.scheme == "http" else "HTTPS_PROXY")
        if not text:
            name, text = self._read("ALL_PROXY")
        return _parsed(name, text) if text else None

    def _read(self, name: str) -> tuple[str, str]:
        for spelling in (name, name.lower()):
            if text := self._environ.get(spelling):
                return spelling, text
        return name, ""


def proxy_name(proxy: URL) -> str:
    """Host and port, without the password."""
    return f"{proxy.host}:{proxy.port}"


def _parsed(name: str, text: str) -> URL:
    # Never with the text: there may be a password in it.
    try:
        url = URL(text if "://" in text else f"http://{text}")
        if url.scheme in _KNOWN and url.host:
            return url.with_port(url.port or _DEFAULT_PORTS[url.scheme])
        reason = f"'{url.scheme}' is no kind of proxy that is known here: {', '.join(sorted(_KNOWN))}"
    except ValueError:
        reason = "it is not the URL of a proxy"
    raise UnusableConfig(name, reason)


def _is_exempt(host: str, port: int | None, entry: str) -> bool:
    """Whether one entry of ``NO_PROXY`` is about a host."""
    if entry == "*":
        return True
    address = literal(host)
    if "/" in entry:
        try:
            return address is not None and address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    if literal(entry) is None:
        name, colon, number = entry.rpartition(":")
        if colon and number.isdecimal():
            if int(number) != port:
                return False
            entry = name
    if (exempt := literal(entry)) is not None:
        return address == exempt
    # `.example.com` and `*.example.com` are the names below, `example.com` is that name too.
    suffix = entry.removeprefix("*")
    return host.endswith(suffix if suffix.startswith(".") else f".{suffix}") or host == suffix
