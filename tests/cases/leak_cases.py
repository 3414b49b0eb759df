"""The table of ways to lose a secret. R01, R02, R04, R05, R06, R26 of the catalogue."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

from aiodocker_lite.registry.keyring import Keyring
from aiodocker_lite.settings import Settings
from aiodocker_lite.testing.faults import Fault, cut, honest, redirected, status, with_body, with_headers
from aiodocker_lite.testing.messages import basic, error
from aiodocker_lite.testing.registry import Tokens
from tests.cases.leaks import IDENTIFIED, IDENTITY, PASSWORD, TOKENED, USER, Leak, Play, Stage

LEAKS: list[Leak] = []


def case(name: str, **seen: str) -> Callable[[Play], Play]:
    """Put a case into the table; each origin that is asked, and the kinds of secrets it may learn."""

    def add(play: Play) -> Play:
        LEAKS.append(Leak(name, play, {origin: set(kinds.split()) for origin, kinds in seen.items()}))
        return play

    return add


# --- redirects of what the registry has ------------------------------------------------------

for code in (301, 302, 303, 307, 308):

    @case(f"Basic, and a layer elsewhere by {code}", home="password", other="")
    async def _(s: Stage, code: int = code) -> None:
        s.want_password()
        s.home.script("GET", s.layer_path, *[redirected(s.other.url + s.layer_path, code)] * 2)
        await s.pull()

    @case(f"Bearer, and a layer elsewhere by {code}", home="token", auth="password", other="")
    async def _(s: Stage, code: int = code) -> None:
        s.want_token()
        s.home.script("GET", s.layer_path, *[redirected(s.other.url + s.layer_path, code)] * 2)
        await s.pull()


for what, method, part in (
    ("the name", "HEAD", "/manifests/"),
    ("the manifest", "GET", "/manifests/"),
    ("the configuration", "GET", "/blobs/"),
):

    @case(f"Bearer, and {what} elsewhere", home="token", auth="password", other="")
    async def _(s: Stage, method: str = method, part: str = part) -> None:
        s.want_token()
        first = [honest] if method == "HEAD" else []  # the first is challenged
        target = s.other.url + f"/v2/app{part}"
        s.home.script(method, part, *first, redirected(target + "x"))
        await s.pull()


@case("a registry that asks for nothing, and a layer elsewhere", home="", other="")
async def _(s: Stage) -> None:
    s.home.script("GET", s.layer_path, redirected(s.other.url + s.layer_path))
    await s.pull()


@case("home by its number, on the same port", home="password", alias="")
async def _(s: Stage) -> None:
    s.want_password()
    s.home.script("GET", s.layer_path, redirected(s.home.url + s.layer_path))
    await s.pull()


@case("an address without a scheme", home="password", other="")
async def _(s: Stage) -> None:
    s.want_password()
    s.home.script("GET", s.layer_path, redirected(f"//127.0.0.1:{s.other.port}/x"))
    await s.pull()


for user in ("me:pw@", "me@", "{home}@", "{home}%2F@"):

    @case(f"an address with the user '{user}'", home="password", other="")
    async def _(s: Stage, user: str = user) -> None:
        s.want_password()
        name = user.format(home=s.home.address)
        s.home.script("GET", s.layer_path, redirected(f"http://{name}127.0.0.1:{s.other.port}/x"))
        await s.pull()
        assert [seen.secret for seen in s.other.requests] == [None]


@case("the way back over another", home="password", other="")
async def _(s: Stage) -> None:
    s.want_password()
    way_back = redirected(f"http://{s.home.address}{s.layer_path}")
    s.home.script("GET", s.layer_path, redirected(s.other.url + s.layer_path))
    s.other.script("GET", s.layer_path, way_back)
    await s.pull()


@case("over two others", home="token", auth="password", other="", evil="")
async def _(s: Stage) -> None:
    s.want_token()
    s.home.script("GET", s.layer_path, redirected(s.other.url + s.layer_path))
    s.other.script("GET", s.layer_path, redirected(s.evil.url + s.layer_path))
    await s.pull()


@case("the second pull, where what is wanted is known", home="token", auth="password", other="")
async def _(s: Stage) -> None:
    s.want_token()
    async with s.client() as registry:
        await s.pull_by(registry)
        s.home.script("", "/v2/", redirected(s.other.url + "/v2/app/manifests/latest"))
        await s.pull_by(registry)


@case("elsewhere after a failure and a cut", home="token", auth="password", other="")
async def _(s: Stage) -> None:
    s.want_token()
    away = redirected(s.other.url + s.layer_path)
    s.home.script("GET", s.layer_path, status(503), away, cut(at=10), away)
    s.other.script("GET", s.layer_path, cut(at=1000))
    await s.pull(times=4)


@case("elsewhere after the token ended", home="token", auth="password", other="")
async def _(s: Stage) -> None:
    s.want_token()
    async with s.client() as registry:
        await s.pull_by(registry)
        s.home.tokens.issued.clear()
        s.home.script("GET", s.layer_path, redirected(s.other.url + s.layer_path))
        await s.pull_by(registry)


# --- challenges from elsewhere ---------------------------------------------------------------


def away_with(challenge: Callable[[Stage], str], *, home: str) -> Play:
    """A layer is with the other one, who wants something for it."""

    async def play(s: Stage) -> None:
        if home == "basic":
            s.want_password()
        else:
            s.want_token()
        wanting = with_headers(WWW_Authenticate=challenge(s))
        refusal: Fault = lambda reply: wanting(error(401, "UNAUTHORIZED", "who are you"))  # noqa: E731
        s.home.script("GET", s.layer_path, *[redirected(s.other.url + s.layer_path)] * 4)
        s.other.script("GET", s.layer_path, *[refusal] * 4)
        await s.pull()

    return play


case("storage that wants Basic, home too", home="password", other="")(
    away_with(lambda s: 'Basic realm="fake"', home="basic")
)
case("storage that wants Basic, home a token", home="token", auth="password", other="")(
    away_with(lambda s: 'Basic realm="fake"', home="bearer")
)
case("storage that wants a token of its own", home="password", other="")(
    away_with(lambda s: f'Bearer realm="{s.other.url}/token"', home="basic")
)
case("storage that wants a token of somebody else", home="password", other="", evil="")(
    away_with(lambda s: f'Bearer realm="{s.evil.url}/token"', home="basic")
)
case("storage that wants a token of home's token server", home="token", auth="password", other="")(
    away_with(lambda s: f'Bearer realm="{s.auth.url}/token",service="fake"', home="bearer")
)
case("storage that wants everything at once", home="password", other="", evil="")(
    away_with(lambda s: f'Basic realm="a, b", Bearer realm="{s.evil.url}/token", Digest x="y"', home="basic")
)


# --- token servers ---------------------------------------------------------------------------


@case("a token server that sends us away", home="", auth="password", evil="")
async def _(s: Stage) -> None:
    s.want_token()
    s.auth.script("GET", "/token", *[redirected(s.evil.url + "/token")] * 2)
    await s.pull()


for code in (302, 307):

    @case(f"a token server that sends an identity token away by {code}", home="", auth="identity")
    async def _(s: Stage, code: int = code) -> None:
        s.want_token(identity=IDENTITY)
        s.auth.script("POST", "/token", redirected(s.evil.url + "/token", code))
        await s.pull(IDENTIFIED)


@case("a token server without OAuth2 that sends the second try away", home="", auth="identity", evil="")
async def _(s: Stage) -> None:
    s.want_token()
    s.auth.script("GET", "/token", redirected(s.evil.url + "/token"))
    await s.pull(IDENTIFIED)


@case("a token server that wants Basic of a stranger's kind", home="", auth="password")
async def _(s: Stage) -> None:
    s.want_token()
    wanting = with_headers(WWW_Authenticate=f'Bearer realm="{s.evil.url}/token"')
    s.auth.script("GET", "/token", lambda reply: wanting(error(401, "UNAUTHORIZED", PASSWORD[:1])))
    await s.pull()


def echo(secret: str) -> Fault:
    """An error that says back what was sent."""
    return lambda reply: error(403, "DENIED", f"no, not with {secret}")


@case("a registry that repeats the password", home="password")
async def _(s: Stage) -> None:
    s.want_password()
    s.home.script("GET", "/manifests/", echo(PASSWORD), echo("x" * 280 + basic(USER, PASSWORD)))
    await s.pull(times=2)


@case("a registry that repeats the token", home="token", auth="password")
async def _(s: Stage) -> None:
    s.want_token()
    s.home.script("GET", "/manifests/", echo("Bearer granted-1"))
    await s.pull()


@case("a token server that repeats the password", home="", auth="password")
async def _(s: Stage) -> None:
    s.want_token()
    s.auth.script("GET", "/token", echo(basic(USER, PASSWORD)), echo(PASSWORD))
    await s.pull(times=2)


@case("a token server that repeats the identity token", home="", auth="identity")
async def _(s: Stage) -> None:
    s.want_token(identity=IDENTITY)
    s.auth.script("POST", "/token", echo(IDENTITY))
    await s.pull(IDENTIFIED)


@case("a token server that gives a page", home="", auth="password")
async def _(s: Stage) -> None:
    s.want_token()
    s.auth.script("GET", "/token", with_body(b"<html>"))
    await s.pull()


@case("a token that is no header", home="", auth="password")
async def _(s: Stage) -> None:
    s.want_token()
    s.auth.script("GET", "/token", with_body(rb'{"token": "a\r\nX: y"}', "application/json"))
    await s.pull()


for realm in (
    "http://{evil}@127.0.0.1:1/token",
    "http://192.0.2.1/token",
    "ftp://{evil}/token",
    "{evil}/token",
    "/token",
):

    @case(f"the realm '{realm}'", home="")
    async def _(s: Stage, realm: str = realm) -> None:
        s.home.challenge = f'Bearer realm="{realm.format(evil=s.evil.address)}"'
        s.home.password = (USER, PASSWORD)
        await s.pull()


@case("Basic behind a realm with commas and quotes", home="password")
async def _(s: Stage) -> None:
    s.want_password()
    s.home.challenge = rf'Basic realm="x\", Bearer realm=\"{s.evil.url}/token, y"'
    await s.pull()


@case("a registry that never has enough", home="token", auth="password")
async def _(s: Stage) -> None:
    s.want_token()
    s.home.tokens = Tokens()
    await s.pull()


# --- tokens instead of passwords -------------------------------------------------------------


@case("an identity token is for the token server", home="token", auth="identity")
async def _(s: Stage) -> None:
    s.want_token(identity=IDENTITY)
    await s.pull(IDENTIFIED)


@case("an identity token is not for Basic", home="")
async def _(s: Stage) -> None:
    s.want_password()
    await s.pull(IDENTIFIED)


@case("a registry token is for the registry", home="registry", other="")
async def _(s: Stage) -> None:
    s.want_token()
    s.home.tokens.issued.add(TOKENED.registry_token)
    s.home.script("GET", s.layer_path, redirected(s.other.url + s.layer_path))
    await s.pull(TOKENED)


@case("a registry token is not for Basic, and not for a token server", home="registry")
async def _(s: Stage) -> None:
    s.want_token()
    await s.pull(TOKENED)
    s.want_password()
    await s.pull(TOKENED)


# --- whose secret it is ----------------------------------------------------------------------


def from_file(s: Stage, **auths: object) -> Keyring:
    """The keyring of a file with these keys."""
    path = s.directory / "auth.json"
    path.write_text(json.dumps({"auths": auths}))
    return Keyring(Settings(authfile=path))


MINE = {"username": USER, "password": PASSWORD}

for key in (
    "localhost",
    "{home}0",
    "x{home}",
    "127.0.0.1:{port}",
    "{home}/other",
    "{home}/ap",
    "{home}/app/part",
    "{home}.evil.example",
    "evil.example/{home}",
    "https://{home}@evil.example",
):

    @case(f"a password for '{key}' is for no other", home="")
    async def _(s: Stage, key: str = key) -> None:
        s.want_password()
        name = key.format(home=s.home.address, port=s.home.port)
        await s.pull(from_file(s, **{name: MINE}).find)


@case("a password for a namespace is for no other", home="password")
async def _(s: Stage) -> None:
    s.want_password()
    keyring = from_file(s, **{f"{s.home.address}/team": MINE})
    await s.pull(keyring.find, "team/app")
    s.home.requests[:] = [seen for seen in s.home.requests if "team" in seen.path]
    before = len(s.home.requests)
    await s.pull(keyring.find, "app")
    assert {seen.secret for seen in s.home.requests[before:]} == {None}


@case("two registries, a password for one", home="password", other="")
async def _(s: Stage) -> None:
    s.want_password()
    s.other.challenge_basic(USER, PASSWORD)
    async with s.client(from_file(s, **{s.home.address: MINE}).find) as registry:
        await s.pull_by(registry)
        await s.pull_by(registry, server=s.other)


@case("two registries of one token server, a password for one", home="token", other="", auth="password")
async def _(s: Stage) -> None:
    s.want_token()
    s.other.challenge = s.home.challenge
    async with s.client(from_file(s, **{s.home.address: MINE}).find) as registry:
        await s.pull_by(registry)
        await s.pull_by(registry, server=s.other)


@case("what --creds is for", home="password", other="")
async def _(s: Stage) -> None:
    s.want_password()
    s.other.challenge_basic(USER, PASSWORD)
    keyring = Keyring(Settings(creds={s.home.address: (USER, PASSWORD)}, authfile=s.directory / "none"))
    (s.directory / "none").write_text("{}")
    async with s.client(keyring.find) as registry:
        await s.pull_by(registry)
        await s.pull_by(registry, server=s.other)


@case("a login at a registry that sends us away", home="password", other="")
async def _(s: Stage) -> None:
    s.want_password()
    s.home.script("GET", "/v2/", honest, redirected(s.other.url + "/v2/"))
    async with s.client(None) as registry, s.listening():
        await registry.login(s.home.address, USER, PASSWORD)


@case("a login that storage would like to have", home="password", other="")
async def _(s: Stage) -> None:
    s.want_password()
    s.other.challenge_basic(USER, PASSWORD)
    s.home.script("GET", "/v2/", honest, *[redirected(s.other.url + "/v2/")] * 3)
    async with s.client(None) as registry, s.listening():
        await registry.login(s.home.address, USER, PASSWORD)


@case("a login that is refused", home="", auth="password")
async def _(s: Stage) -> None:
    s.home.challenge_bearer(s.auth, user="somebody", password="else")
    async with s.client(None) as registry, s.listening():
        await registry.login(s.home.address, USER, PASSWORD)


# --- what else travels -----------------------------------------------------------------------


@case("a cookie of home", home="", other="")
async def _(s: Stage) -> None:
    s.home.script("HEAD", "/v2/", with_headers(Set_Cookie="session=mine; Path=/"))
    # A cookie does not know about ports.
    s.home.script("GET", s.layer_path, redirected(f"http://{s.other.address}{s.layer_path}"))
    await s.pull()
    assert not {"Cookie", "Referer", "Origin"} & {n for r in s.other.requests for n in r.headers}


@case("a netrc that knows everybody", home="", other="")
async def _(s: Stage) -> None:
    netrc = s.directory / "netrc"
    netrc.write_text(f"default login {USER} password {PASSWORD}\n")
    before = os.environ.get("NETRC")
    os.environ["NETRC"] = str(netrc)
    try:
        s.want_password()
        s.other.challenge = s.home.challenge
        await s.pull(None)
        await s.pull(None, server=s.other)
    finally:
        del os.environ["NETRC"]
        if before is not None:
            os.environ["NETRC"] = before


@case("answers that are no layers", home="password")
async def _(s: Stage) -> None:
    s.want_password()
    s.home.script("GET", s.layer_path, with_headers(Content_Encoding="gzip"), with_body(b"", "text/html"))
    await s.pull(times=2)
