"""Challenge in, authorization out: anonymous, Basic (RFC 7617) and Bearer (distribution's token protocol).

An authorization belongs to one place: an origin, a repository, and whether anybody else was asked
on the way there. What one place was given is never shown to another.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

import anyio
from yarl import URL

from aiodocker_lite.errors import RegistryError, RegistryMisbehaved
from aiodocker_lite.registry.addresses import authority_of
from aiodocker_lite.registry.answers import failure_of, media_type_of
from aiodocker_lite.registry.credentials import Credential, parse_object

if TYPE_CHECKING:
    from aiodocker_lite.registry.wire import Answer, Wire
from aiodocker_lite.spans import span

TOKEN_MAX = 64 * 1024
"""Bytes of the largest answer of a token server that is read."""
_LIFETIME_MIN, _LIFETIME_MAX = 60.0, 3600.0
_AGES = 1e9
_ANONYMOUS = Credential("", "", "anonymous")
_CLIENT_ID = "aiodocker-lite"
_NO_OAUTH = {
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED,
}
"""What token servers without OAuth2 answer to a POST; containerd found all four."""

FindCredential = Callable[[str], Awaitable[Credential | None]]
"""Finds the credential for a repository, named `registry/repository`, or for a registry."""

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SCHEME = re.compile(rf"[\s,]*({_TOKEN})(?=[\s,]|$)")
_PARAMETER = re.compile(rf'[\s,]*({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))(?=[\s,]|$)')
_VISIBLE = re.compile(r"[!-~]+")


class CredentialsRefused(Exception):
    """Nothing we have opens this place; the client says so in its caller's words."""

    def __init__(self, source: str, detail: str, server: str = "") -> None:
        super().__init__(source, detail)
        self.source = source
        self.detail = detail
        self.server = server
        """The token server that says so; empty where it is the registry."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a server wants: a scheme in lower case, and its parameters."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Place:
    """What an authorization is good for."""

    registry: str
    repository: str
    origin: URL
    at_home: bool

    @property
    def name(self) -> str:
        """What a credential is looked for by."""
        return f"{self.registry}/{self.repository}" if self.repository else self.registry


@dataclass(frozen=True, slots=True)
class _Demand:
    """A challenge, and who made it."""

    challenge: Challenge
    from_public: bool


@dataclass(frozen=True, slots=True)
class _Grant:
    """An authorization, what it answers, and when it ends."""

    demand: _Demand
    header: str = field(repr=False)
    source: str
    ends: float = float("inf")


class Authorizer:
    """Remembers what each place wants; asks for one token at a time, however many wait for it."""

    def __init__(
        self,
        wire: Wire,
        credentials: FindCredential,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wire = wire
        self._clock = clock
        self._credentials = credentials
        self._grants: dict[Place, _Grant] = {}
        self._locks: dict[Place, anyio.Lock] = {}

    async def header(self, place: Place) -> str | None:
        """The Authorization header for a place, or None before it ever wanted one.

        Raises CredentialsRefused, RegistryError (of the token server).
        """
        grant = self._grants.get(place)
        if grant is None or self._clock() < grant.ends:
            return grant.header if grant else None
        return (await self._replace(place, grant.header, grant.demand)).header

    def source(self, place: Place) -> str | None:
        """Whose authorization a place was shown last; None where it wanted none."""
        grant = self._grants.get(place)
        return grant.source if grant else None

    async def satisfy(self, place: Place, answer: Answer, detail: str) -> None:
        """Find an authorization that the sender of a 401 has not refused yet.

        Raises CredentialsRefused, RegistryError.
        """
        demand = _Demand(
            choose(parse_challenges(answer.headers.getall("WWW-Authenticate", []))), answer.from_public
        )
        if demand.challenge.scheme not in ("basic", "bearer"):
            raise CredentialsRefused(self.source(place) or _ANONYMOUS.source, detail)
        try:
            grant = await self._replace(place, answer.authorization, demand)
        except CredentialsRefused as error:
            said = error.detail if error.server else error.detail or detail
            raise CredentialsRefused(error.source, said, error.server) from None
        if grant.header == answer.authorization:
            raise CredentialsRefused(grant.source, detail)

    async def _replace(self, place: Place, refused: str | None, demand: _Demand) -> _Grant:
        async with self._locks.setdefault(place, anyio.Lock()):
            grant = self._grants.get(place)
            if grant is None or grant.header == refused:
                # Only the registry itself is told who we are: not a host it sends us to.
                known = await self._credentials(place.name) if place.at_home else None
                grant = await self._answer(place, demand, known or _ANONYMOUS)
                self._grants[place] = grant
            return grant

    async def _answer(self, place: Place, demand: _Demand, credential: Credential) -> _Grant:
        if demand.challenge.scheme == "bearer":
            if credential.registry_token:
                return _Grant(demand, f"Bearer {credential.registry_token}", credential.source)
            with span("token", place.registry):
                return await self._fetch_token(place, demand, credential)
        if not credential.username or not credential.password:
            wrong = "" if credential.is_anonymous else "a user name and a password are wanted, not a token"
            raise CredentialsRefused(credential.source, wrong)
        return _Grant(demand, basic(credential), credential.source)

    async def _fetch_token(self, place: Place, demand: _Demand, credential: Credential) -> _Grant:
        if credential.identity_token:
            form = _token_form(place, demand.challenge, credential)
            grant = await self._ask_for_token(place, demand, credential, "POST", form)
            if grant is not None:
                return grant
        grant = await self._ask_for_token(place, demand, credential, "GET")
        assert grant is not None
        return grant

    async def _ask_for_token(
        self,
        place: Place,
        demand: _Demand,
        credential: Credential,
        method: str,
        form: Mapping[str, str] | None = None,
    ) -> _Grant | None:
        """A token; None where the server does not know this way to ask. Raises CredentialsRefused."""
        realm = self._realm(place, demand.challenge)
        url = realm if form else realm.extend_query(_token_query(place, demand.challenge, credential))
        secret = None if form or credential.is_anonymous else basic(credential)
        server = f"{authority_of(url)} (the token server of {place.registry})"

        async def authorize(hop: URL, at_home: bool) -> str | None:
            return secret if at_home else None

        asked = self._clock()
        async with self._wire.asking(
            method,
            url,
            registry=server,
            headers={"Accept": "application/json"},
            authorize=authorize,
            form=form,
            referrer=place.origin,
            public_only=demand.from_public and url.origin() != place.origin,
            total=self._wire.small_total,
        ) as answer:
            if form and answer.status in _NO_OAUTH:
                return None
            if answer.status != 200:
                detail = await answer.message()
                if answer.status in (401, 403):
                    raise CredentialsRefused(credential.source, detail, answer.sender)
                raise failure_of(answer.sender, answer.status, answer.headers, detail)
            body = await answer.as_stored().read(TOKEN_MAX)
        token, lifetime = _read_token(body, server, answer.headers)
        # A tenth earlier, for a request takes time to arrive.
        return _Grant(demand, f"Bearer {token}", credential.source, asked + 0.9 * lifetime)

    def _realm(self, place: Place, challenge: Challenge) -> URL:
        """Where a token is asked for. Raises RegistryMisbehaved for a place no secret may go to."""

        def wrong(reason: str) -> RegistryError:
            return RegistryMisbehaved(place.registry, f"its token server {reason}")

        try:
            realm = URL(challenge.parameters.get("realm", ""))
            if realm.scheme not in ("", "http", "https"):
                raise wrong(f"{realm.host or ''} has a '{realm.scheme}:' address".lstrip())
            host = realm.origin().host or ""
        except ValueError as error:
            raise wrong("has no valid URL") from error
        if realm.user is not None or realm.password is not None:
            raise wrong(f"{host} has a user name in its URL")
        if realm.scheme == "http" and not self._wire.permits_http(place.origin, host):
            raise wrong(f"speaks plain http, at {host}; refusing to send it anything")
        return realm


def _scopes(place: Place, challenge: Challenge) -> list[str]:
    usual = f"repository:{place.repository}:pull" if place.repository else ""
    return challenge.parameters.get("scope", usual).split()


def _token_query(place: Place, challenge: Challenge, credential: Credential) -> list[tuple[str, str]]:
    """The question of distribution's "Token Authentication Specification"."""
    query = []
    if service := challenge.parameters.get("service"):
        query.append(("service", service))
    query += [("scope", scope) for scope in _scopes(place, challenge)]
    if credential.username:
        query.append(("account", credential.username))
    return query


def _token_form(place: Place, challenge: Challenge, credential: Credential) -> dict[str, str]:
    """The same of its "OAuth2 Token Authentication"."""
    return {
        "grant_type": "refresh_token",
        "service": challenge.parameters.get("service", ""),
        "client_id": _CLIENT_ID,
        "scope": " ".join(_scopes(place, challenge)),
        "refresh_token": credential.identity_token,
    }


def basic(credential: Credential) -> str:
    """The Authorization header of RFC 7617; an identity token stands for a password."""
    pair = f"{credential.username}:{credential.identity_token or credential.password}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """Read WWW-Authenticate (RFC 9110, 11.6.1): several headers, several challenges in one, commas in quotes.

    What cannot be read ends its header; what came before it counts.
    """
    found = []
    for header in headers:
        position = 0
        while match := _SCHEME.match(header, position):
            position = match.end()
            parameters: dict[str, str] = {}
            while parameter := _PARAMETER.match(header, position):
                name, quoted, plain = parameter.groups()
                value = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
                parameters.setdefault(name.lower(), value)
                position = parameter.end()
            found.append(Challenge(match[1].lower(), parameters))
    return found


def choose(challenges: Iterable[Challenge]) -> Challenge:
    """The challenge to answer: Bearer where it says who gives tokens, else Basic, else none we know."""
    usable = [
        c for c in challenges if c.scheme == "basic" or (c.scheme == "bearer" and c.parameters.get("realm"))
    ]
    return max(usable, key=lambda challenge: challenge.scheme == "bearer", default=Challenge(""))


def _read_token(body: bytes, server: str, headers: Mapping[str, str]) -> tuple[str, float]:
    """The token and its lifetime in seconds; a lifetime that makes no sense is brought into bounds."""
    if len(body) > TOKEN_MAX:
        raise RegistryMisbehaved(server, f"its token is larger than {TOKEN_MAX} bytes")
    document, _ = parse_object(body)
    if document is None:
        media_type = media_type_of(headers) or "something unnamed"
        raise RegistryMisbehaved(server, f"it gives '{media_type}' instead of a token")
    token = document.get("token") or document.get("access_token")
    if not isinstance(token, str) or _VISIBLE.fullmatch(token) is None:
        raise RegistryMisbehaved(server, "its answer has no token")
    lifetime = document.get("expires_in")
    if not isinstance(lifetime, int | float):
        lifetime = _LIFETIME_MIN
    left = min(lifetime, _AGES) - _age(document.get("issued_at"), headers)
    # In this order also for what is no number.
    return token, min(max(_LIFETIME_MIN, left), _LIFETIME_MAX)


def _age(issued_at: object, headers: Mapping[str, str]) -> float:
    """For how many seconds a token is out already, by the clock of the server that keeps it; 0 if it does not say."""
    with suppress(ValueError, TypeError, OverflowError):
        issued = datetime.fromisoformat(str(issued_at))
        return max((parsedate_to_datetime(headers.get("Date", "")) - issued).total_seconds(), 0.0)
    return 0.0
