"""Why there is no answer, in plain words: names, ports, proxies, TLS, and connections that are cut."""

from __future__ import annotations

import os
import ssl
from http import HTTPStatus

import aiohttp
from yarl import URL

from aiodocker_lite.errors import RegistryError, RegistryMisbehaved, RegistryUnavailable, RegistryUnreachable
from aiodocker_lite.registry.addresses import authority_of
from aiodocker_lite.registry.proxies import proxy_name

_PLAIN_HTTP = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"}
_OTHER_NAME = "its certificate is for other names than this one"
_UNKNOWN_AUTHORITY = "its certificate is of an authority that is not trusted here"
_CERTIFICATE_REASONS = {
    # X509_V_ERR_... of OpenSSL's x509_vfy.h.
    9: "its certificate is not valid yet, or the clock of this machine is wrong",
    10: "its certificate has expired",
    18: "its certificate is signed by itself, and not trusted here",
    19: _UNKNOWN_AUTHORITY,
    20: _UNKNOWN_AUTHORITY,
    21: _UNKNOWN_AUTHORITY,
    62: _OTHER_NAME,
    64: _OTHER_NAME,
}
_BAD_CERTIFICATE = {
    "SSLV3_ALERT_BAD_CERTIFICATE",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED",
    "SSLV3_ALERT_CERTIFICATE_REVOKED",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED",
    "TLSV1_ALERT_ACCESS_DENIED",
    "TLSV1_ALERT_UNKNOWN_CA",
}


class ProxyFailed(Exception):
    """The proxy, and not what is behind it: `reason` is about the proxy, for a sentence."""

    def __init__(self, reason: str, *, may_help: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.may_help = may_help
        """Another try may bring another end."""


def explain(
    error: BaseException,
    registry: str,
    url: URL,
    *,
    known: bool,
    certified: bool = False,
    proxy: URL | None = None,
) -> RegistryError:
    """What went wrong on the way to a URL, in plain words; `registry` is who is named.

    `known` says that this host answered before: then a refused connection is a restart and worth
    another try, and otherwise a name that is wrong. `certified` says that we have a certificate for it.
    """
    gone = RegistryUnavailable if known else RegistryUnreachable
    if proxy is not None and (failed := _proxy_failure(error)):
        kind = RegistryUnavailable if failed.may_help else RegistryUnreachable
        return kind(registry, f"the proxy {proxy_name(proxy)} {failed.reason}")
    tls = _tls_error(error)
    if tls is not None and proxy is not None and _is_about(error, proxy):
        return RegistryUnreachable(registry, f"the proxy {proxy_name(proxy)} {_proxy_handshake(tls)}")
    if isinstance(tls, ssl.SSLCertVerificationError):
        return RegistryUnreachable(registry, f"{_certificate_reason(tls)}; {_what_helps(url)}")
    if tls is not None:
        return _handshake_failure(tls, registry, url, certified=certified)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return gone(registry, "the host name is not known")
    if isinstance(error, aiohttp.ClientConnectorError):
        return gone(registry, _system_reason(error.os_error))
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        through = f" through the proxy {proxy_name(proxy)}" if proxy else ""
        return gone(registry, f"there is no connection to it in time{through}")
    if isinstance(error, TimeoutError):
        return RegistryUnavailable(registry, "it stopped answering")
    if isinstance(error, aiohttp.InvalidURL):
        return RegistryUnreachable(registry, "the name or address is not valid")
    if isinstance(error, aiohttp.ClientResponseError):
        return RegistryMisbehaved(registry, "what it sends is not HTTP")
    return RegistryUnavailable(registry, "the connection was cut")


def speaks_plain_http(error: BaseException) -> bool:
    """The handshake failed because the other side does not speak TLS at all."""
    tls = _tls_error(error)
    return tls is not None and tls.reason in _PLAIN_HTTP


def proxy_refused(status: int) -> ProxyFailed:
    """What a proxy means that answers in the place of who was asked."""
    # tinyproxy has 407 for no password and 401 for a wrong one.
    if status in (HTTPStatus.PROXY_AUTHENTICATION_REQUIRED, HTTPStatus.UNAUTHORIZED):
        return ProxyFailed("does not accept the user name and password in its URL, or wants some")
    return ProxyFailed(f"refuses to connect to it: it answered {status}", may_help=status >= 500)


def _proxy_failure(error: BaseException) -> ProxyFailed | None:
    if isinstance(error, ProxyFailed):
        return error
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return proxy_refused(error.status)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return ProxyFailed("has a name that is not known")
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return ProxyFailed(f"cannot be reached: {_system_reason(error.os_error)}")
    return None


def _is_about(error: BaseException, proxy: URL) -> bool:
    """The handshake was with the proxy, and not with whom it leads to."""
    asked = getattr(error, "host", None), getattr(error, "port", None)
    return proxy.scheme == "https" and asked == (proxy.host, proxy.port)


def _proxy_handshake(error: ssl.SSLError) -> str:
    if error.reason in _PLAIN_HTTP:
        return "answers with plain http, not https: its URL has to begin with http://"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"is not trusted: {_certificate_reason(error)}"
    return (
        f"makes no secure connection: {str(error.reason or 'the handshake failed').replace('_', ' ').lower()}"
    )


def _system_reason(error: OSError) -> str:
    if error.errno:
        return os.strerror(error.errno).lower()
    if isinstance(error, ConnectionError):
        return "it hung up before the connection was secure"
    return "no connection to any of its addresses"


def _tls_error(error: BaseException) -> ssl.SSLError | None:
    """What OpenSSL said, however it is wrapped."""
    # Their wrappers are of the same classes, and know less.
    for each in (getattr(error, "certificate_error", None), getattr(error, "os_error", None), error):
        if isinstance(each, ssl.SSLError):
            return each
    return error.__cause__ if isinstance(error.__cause__, ssl.SSLError) else None


def _certificate_reason(error: ssl.SSLCertVerificationError) -> str:
    if reason := _CERTIFICATE_REASONS.get(error.verify_code):
        return reason
    return f"its certificate is not trusted: {error.verify_message}"


def _what_helps(url: URL) -> str:
    return (
        f"an authority is trusted whose certificate is /etc/docker/certs.d/{authority_of(url)}/ca.crt or in "
        "--cert-dir, and --tls-verify=false takes any certificate"
    )


def _handshake_failure(error: ssl.SSLError, registry: str, url: URL, *, certified: bool) -> RegistryError:
    if error.reason in _PLAIN_HTTP:
        return RegistryUnreachable(
            registry, "it answers with plain http, not https; --tls-verify=false permits that"
        )
    if error.reason in _BAD_CERTIFICATE:
        place = f"/etc/docker/certs.d/{authority_of(url)}"
        return RegistryUnreachable(
            registry,
            f"it does not accept our client certificate, which has to be in {place}"
            if certified
            else f"it wants a client certificate: put client.cert and client.key into {place}",
        )
    reason = str(error.reason).replace("_", " ").lower() if error.reason else "the handshake failed"
    return RegistryUnavailable(registry, f"no secure connection: {reason}")
