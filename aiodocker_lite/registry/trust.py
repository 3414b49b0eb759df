"""How a host proves who it is, and how we prove it to the host: authorities and certificates.

Directories of certificates are docker's and podman's (`certs.d/HOST:PORT/*.crt *.cert *.key`).
``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` replace the system's authorities, as everywhere with OpenSSL.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from aiodocker_lite.errors import UnusableConfig

_SYSTEM = ("SSL_CERT_FILE", "SSL_CERT_DIR")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What is expected of a host, and shown to it."""

    verify: bool = True
    """Its certificate has to be good."""
    plain_http: bool = False
    """It may speak plain http, as loopback may in any case."""
    authorities: tuple[Path, ...] = ()
    """Files of certificates that are trusted beside the system's."""
    pairs: tuple[tuple[Path, Path], ...] = ()
    """Client certificates and their keys."""

    def and_for(self, other: Trust) -> Trust:
        """What to expect of another host, whose own trust is `other`, where this one sends us there.

        A private network's storage has a certificate of the same private authority. A client
        certificate is for its own host only.
        """
        return replace(
            other,
            verify=self.verify and other.verify,
            plain_http=self.plain_http or other.plain_http,
            authorities=tuple(dict.fromkeys(other.authorities + self.authorities)),
        )

    def context(self) -> ssl.SSLContext:
        """For a TLS connection to the host. Raises UnusableConfig for a file that cannot be used."""
        return _context(self, *(os.environ.get(name) for name in _SYSTEM))


@cache
def _context(trust: Trust, file: str | None, directory: str | None) -> ssl.SSLContext:
    if trust.verify:
        # OpenSSL would say nothing about a path that is wrong, and trust nobody.
        _check_is_there("SSL_CERT_FILE", [file] if file else [])
        _check_is_there("SSL_CERT_DIR", directory.split(":") if directory else [])
        context = ssl.create_default_context()
    else:
        # Without the system's authorities, which take 20 ms to read.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    for path in trust.authorities:
        with _reading(path, "an authority's certificate in PEM"):
            context.load_verify_locations(path)
    for certificate, key in trust.pairs:
        with _reading(certificate, "a certificate in PEM with its unencrypted key"):
            # Without a password OpenSSL would ask for one, in the middle of a pull.
            context.load_cert_chain(certificate, key, password=str)
    return context


def _check_is_there(variable: str, paths: list[str]) -> None:
    if paths and not any(Path(path).exists() for path in paths):
        raise UnusableConfig(variable, f"'{':'.join(paths)}' is not there")


@contextmanager
def _reading(path: Path, wanted: str) -> Iterator[None]:
    try:
        yield
    except ssl.SSLError as error:
        raise UnusableConfig(str(path), f"it is not {wanted}") from error
    except OSError as error:
        raise UnusableConfig(str(path), f"it cannot be read: {error.strerror}") from error


def certificates_in(directory: Path) -> Trust:
    """What a directory has: authorities as `*.crt`, client certificates as `*.cert` with a `*.key`.

    Raises UnusableConfig where a key has no certificate or a certificate no key.
    """
    try:
        names = sorted(entry.name for entry in directory.iterdir())
    except OSError as error:
        raise UnusableConfig(str(directory), f"it cannot be read: {error.strerror}") from error
    for name in names:
        stem, _, kind = name.rpartition(".")
        partner = {"cert": f"{stem}.key", "key": f"{stem}.cert"}.get(kind)
        if partner is not None and partner not in names:
            raise UnusableConfig(
                str(directory / name), f"there is no {partner} beside it (an authority's name ends in .crt)"
            )
    return Trust(
        authorities=tuple(directory / name for name in names if name.endswith(".crt")),
        pairs=tuple(
            (directory / name, directory / f"{name[:-5]}.key") for name in names if name.endswith(".cert")
        ),
    )
