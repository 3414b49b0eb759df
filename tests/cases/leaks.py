"""Ways to lose a secret: four servers on four origins, what happens, and who may have seen what afterwards.

    home    the registry whose image is pulled; `alias` is home by its number
    auth    the token server it names
    other   storage, or another registry
    evil    whoever would like to know

A case names every origin that is asked anything, and all that it may learn; what is not named is
not to be asked at all. So a case in which nothing happens is as wrong as a leak.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from aiodocker_lite.errors import EngineError
from aiodocker_lite.registry.auth import FindCredential
from aiodocker_lite.registry.client import HttpRegistry
from aiodocker_lite.registry.credentials import Credential
from aiodocker_lite.settings import Settings
from aiodocker_lite.spans import listening
from aiodocker_lite.testing.images import Image, image, layer, noise
from aiodocker_lite.testing.registry import FakeRegistry, Tokens
from tests.fakes.clients import knowing

USER, PASSWORD, IDENTITY, REGISTRY_TOKEN = "me", "s3cret:pässword", "id3ntity-token", "r3gistry-token"
ME = Credential(USER, PASSWORD, "a test")
IDENTIFIED = Credential("", "", "a test", identity_token=IDENTITY)
TOKENED = Credential("", "", "a test", registry_token=REGISTRY_TOKEN)


@dataclass(frozen=True)
class Stage:
    """What a case plays on; the registry at home has `app` and `team/app`, and so has the other one."""

    directory: Path
    app: Image
    home: FakeRegistry
    auth: FakeRegistry
    other: FakeRegistry
    evil: FakeRegistry
    said: list[str]
    """Everything that errors and logs said."""

    @property
    def layer_path(self) -> str:
        return f"/v2/app/blobs/{self.app.layers[0].digest}"

    def want_password(self) -> None:
        """Have home ask for Basic."""
        self.home.challenge_basic(USER, PASSWORD)

    def want_token(self, **tokens: object) -> None:
        """Have home ask for a token of auth, which wants the password or an identity token for it."""
        self.home.challenge_bearer(self.auth, user=USER, password=PASSWORD, prefix="granted", **tokens)

    @asynccontextmanager
    async def client(
        self, credential: Credential | FindCredential | None = ME, **settings: object
    ) -> AsyncIterator[HttpRegistry]:
        find = credential if callable(credential) else knowing(credential)
        async with HttpRegistry(Settings(**settings), credentials=find) as registry:  # type: ignore[arg-type]
            yield registry

    async def pull(
        self,
        credential: Credential | FindCredential | None = ME,
        name: str = "app",
        *,
        times: int = 1,
        server: FakeRegistry | None = None,
        **settings: object,
    ) -> None:
        """All requests of a pull with one client; an error is noted and ends it."""
        async with self.client(credential, **settings) as registry:
            for _ in range(times):
                await self.pull_by(registry, name, server)

    async def pull_by(
        self, registry: HttpRegistry, name: str = "app", server: FakeRegistry | None = None
    ) -> None:
        reference = (server or self.home).reference(name)
        async with self.listening():
            promised = await registry.resolve(reference)
            await registry.manifest(reference, promised)
            await registry.blob(reference, self.app.config.descriptor)
            for offset in (0, 1000):
                async with registry.open_blob(reference, self.app.layers[0].descriptor, offset) as chunks:
                    async for _ in chunks:
                        pass

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Note an error, and all it leads to, as the user and a debugger would see it."""
        try:
            yield
        except EngineError as error:
            for each in (error, error.__cause__, error.__context__):
                self.said.append(f"{each} {each!r} {vars(each) if each else ''}")

    def seen(self) -> dict[str, set[str]]:
        """What each origin that was asked has learned."""
        personal = {t for server in self.servers.values() for t in server.tokens.personal}
        found: dict[str, set[str]] = {}
        for name, server in self.servers.items():
            for request in server.requests:
                # Under another name it is another origin.
                is_alias = server is self.home and request.headers["Host"] != server.address
                origin = "alias" if is_alias else name
                found.setdefault(origin, set()).update(secrets_in(request.everything, personal))
        if said := secrets_in("\n".join(self.said), personal):
            found["said"] = said
        return found

    @property
    def servers(self) -> Mapping[str, FakeRegistry]:
        return {"home": self.home, "auth": self.auth, "other": self.other, "evil": self.evil}


Play = Callable[[Stage], Awaitable[None]]


@dataclass(frozen=True)
class Leak:
    """One way, and what is right."""

    name: str
    play: Play
    seen: Mapping[str, set[str]]


def secrets_in(text: str, tokens: set[str]) -> set[str]:
    """Which kinds of secrets are in a text, plain or in one of their costumes."""
    kinds = {
        "password": [PASSWORD, *_as_basic(PASSWORD)],
        "identity": [IDENTITY, *_as_basic(IDENTITY)],
        "registry": [REGISTRY_TOKEN],
        "token": list(tokens),
    }
    costumes = (str, quote, lambda secret: base64.b64encode(secret.encode()).decode())
    return {
        kind
        for kind, secrets in kinds.items()
        for secret in secrets
        if any(costume(secret) in text for costume in costumes)
    }


def _as_basic(password: str) -> list[str]:
    pairs = [f"{user}:{password}" for user in (USER, "", "<token>")]
    return [base64.b64encode(p.encode(c)).decode() for p in pairs for c in ("utf-8", "latin-1")]


class _Log(logging.Handler):
    def __init__(self, said: list[str]) -> None:
        super().__init__(logging.DEBUG)
        self.said = said

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


@dataclass(frozen=True)
class Played:
    """What each origin that was asked has learned, and how many requests there were."""

    seen: Mapping[str, set[str]]
    requests: int


async def play(leak: Leak, directory: Path) -> Played:
    """Play one case on new servers."""
    app = image(layer({"etc/data": noise(30_000)}))
    async with AsyncExitStack() as stack:
        home, auth, other, evil = [await stack.enter_async_context(FakeRegistry()) for _ in range(4)]
        for server in (home, other, evil):
            server.add("app", "latest", app)
            server.add("team/app", "latest", app)
        for server in (auth, other, evil):
            server.tokens = Tokens(prefix=f"of-{server.port}")
        stage = Stage(directory, app, home, auth, other, evil, said=[])
        with logging_to(stage.said), listening(lambda span: stage.said.append(repr(span))):
            await leak.play(stage)
        return Played(stage.seen(), sum(len(server.requests) for server in stage.servers.values()))


@contextmanager
def logging_to(said: list[str]) -> Iterator[None]:
    """With everything logged that can be."""
    handler, root = _Log(said), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
