"""Who may come in: everybody from this machine; from others whoever has a secret, over TLS."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiodocker_lite.errors import InvalidOption
from aiodocker_lite.serve.answers import Refused

_SECRETS_MAX: Final = 1 << 20
_HASHED: Final = ("$2", "$apr1$", "$5$", "$6$", "{SHA}")
_CHALLENGE: Final = {"WWW-Authenticate": 'Basic realm="aiodocker-lite", charset="UTF-8"'}


@dataclass(frozen=True, slots=True)
class Door:
    """What must be shown. A token is also good as the password of any user, for most clients know nothing else."""

    tokens: tuple[bytes, ...] = ()
    passwords: tuple[tuple[str, bytes], ...] = ()
    """Users, and the digests of `user:password`."""

    @classmethod
    def of(cls, token_file: Path | None, password_file: Path | None) -> Door:
        """One token a line, one `user:password` a line. Raises InvalidOption."""
        tokens = [] if token_file is None else _lines(token_file, "token-file")
        users = [] if password_file is None else _lines(password_file, "password-file")
        for line in users:
            user, colon, password = line.partition(":")
            if not (user and colon and password):
                raise InvalidOption("password-file", f"a line of {password_file} is not USER:PASSWORD")
            if password.startswith(_HASHED):
                raise InvalidOption(
                    "password-file", f"the password of '{user}' is hashed; it has to be plain text"
                )
        return cls(
            tuple(map(_digest, tokens)), tuple((line.partition(":")[0], _digest(line)) for line in users)
        )

    @property
    def is_locked(self) -> bool:
        return bool(self.tokens or self.passwords)

    def admit(self, authorization: str | None) -> str | None:
        """The user who shows this, as far as it has a name. Raises Refused."""
        if not self.is_locked:
            return None
        scheme, _, shown = (authorization or "").partition(" ")
        user, found = "", False
        if scheme.lower() == "bearer":
            found = _is_among(shown.strip(), self.tokens)
        elif scheme.lower() == "basic":
            pair = _decoded(shown)
            user, _, password = pair.partition(":")
            is_user = _is_among(pair, tuple(digest for _, digest in self.passwords))
            found = _is_among(password, self.tokens) or is_user
            user = user if is_user else ""
        if not found:
            raise Refused(401, "UNAUTHORIZED", "a token or a password is needed", _CHALLENGE)
        return user or None


def _is_among(shown: str, secrets: tuple[bytes, ...]) -> bool:
    """In the same time wherever the difference is, and whichever it is."""
    digest = _digest(shown)
    return sum([hmac.compare_digest(digest, secret) for secret in secrets]) > 0


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text.strip(), validate=True).decode()
    except ValueError:
        return ""


def _lines(path: Path, option: str) -> list[str]:
    try:
        with path.open("rb") as file:
            text = file.read(_SECRETS_MAX).decode()
    except OSError as error:
        raise InvalidOption(option, f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidOption(option, f"{path} is not UTF-8") from error
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        raise InvalidOption(option, f"there is nothing in {path}")
    return lines


def tls_context(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """None where neither is given. Raises InvalidOption."""
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        given, other = ("tls-cert", "tls-key") if key is None else ("tls-key", "tls-cert")
        raise InvalidOption(given, f"it needs {other}")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # A key with a passphrase asks for it on the terminal, where perhaps nobody is.
        context.load_cert_chain(certificate, key, password=lambda: "")
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
        raise InvalidOption(
            "tls-cert", f"{certificate} and {key} are no certificate and its key: {reason}"
        ) from error
    return context


def checked_address(host: str, *, is_guarded: bool, insecure: bool) -> str:
    """The IP address to listen on; one that other machines reach must be guarded. Raises InvalidOption."""
    if host == "localhost":
        return "127.0.0.1"
    try:
        address = ipaddress.ip_address(host)
    except ValueError as error:
        raise InvalidOption("bind", f"'{host}' is not an IP address, such as 127.0.0.1") from error
    if not (address.is_loopback or is_guarded or insecure):
        raise InvalidOption(
            "bind",
            f"{host} is not a loopback address; what other machines reach needs tls-cert, tls-key, and "
            "token-file or password-file, or insecure for images that anybody may have",
        )
    return host
