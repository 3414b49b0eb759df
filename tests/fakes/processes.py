"""Real registries: Debian's `docker-registry` on a free loopback port, open or with one of its two locks."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

USER, PASSWORD = "alice", "correct horse: battery"
IDENTITY_TOKEN = "id.entity-token"
_PACKAGES = {
    "docker-registry": "docker-registry",
    "getsubids": "uidmap",
    "htpasswd": "apache2-utils",
    "newuidmap": "uidmap",
    "nginx": "nginx-light",
    "openssl": "openssl",
    "redis-check-rdb": "redis-tools",
    "skopeo": "skopeo",
}
_SERVICE = "test-registry"
_ISSUER = "test-issuer"


SERVERS: set[int] = set()
"""The registries that run for the whole session: children of ours that no test means."""


def children() -> list[int]:
    """The child processes of all our threads, by the kernel's lists; also the dead that nobody buried."""
    found: list[int] = []
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError):  # a thread that has just ended
            found += map(int, (task / "children").read_text().split())
    return [pid for pid in found if pid not in SERVERS]


def descendants() -> set[int]:
    """Every process that descends from this one."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found - SERVERS:
        found |= more
    return found - {os.getpid()}


def program(name: str) -> str:
    """The path of a program that the tests cannot do without."""
    path = shutil.which(name)
    if path is None:
        raise FileNotFoundError(f"these tests need '{name}': apt-get install {_PACKAGES.get(name, name)}")
    return path


@dataclass(frozen=True)
class RealRegistry:
    """A running registry, and how to fill it."""

    address: str
    """`localhost:PORT`, what stands before the first slash of an image name."""
    credentials: str | None = None
    """`USER:PASSWORD`, where it wants them."""
    tokens: TokenServer | None = None

    def push(self, layout: Path, name: str, ref: str = "latest", certificates: Path | None = None) -> str:
        """Copy an image of an OCI layout here by `skopeo copy`; returns its full name."""
        full = f"{self.address}/{name}"
        secret = [f"--dest-creds={self.credentials}"] if self.credentials else ["--dest-no-creds"]
        command = [program("skopeo"), "--insecure-policy", "copy", "--quiet", "--all", "--preserve-digests"]
        source, target = f"oci:{layout}:{ref}", f"docker://{full}"
        tls = f"--dest-cert-dir={certificates}" if certificates else "--dest-tls-verify=false"
        done = subprocess.run(
            [*command, tls, *secret, source, target],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return full


@contextmanager
def running_registry(
    directory: Path, auth: Mapping[str, object], tls: Mapping[str, object] | None = None
) -> Iterator[str]:
    """Start `docker-registry serve`; yields its address when it answers."""
    port = free_port()
    config = {
        "version": "0.1",
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(directory / "data")}, "delete": {"enabled": True}},
        "http": {"addr": f"127.0.0.1:{port}", "secret": "not one", **({"tls": tls} if tls else {})},
        **({"auth": auth} if auth else {}),
    }
    # JSON is YAML too.
    (directory / "config.yml").write_text(json.dumps(config))
    command = [program("docker-registry"), "serve", str(directory / "config.yml")]
    with running(command, port, directory / "log"):
        yield f"localhost:{port}"


@contextmanager
def running(command: list[str], port: int, log: Path) -> Iterator[None]:
    """A server for as long as the block lasts, which begins when it listens."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    SERVERS.add(process.pid)
    try:
        _wait_for(port, process, log)
        yield
    finally:
        process.terminate()
        process.wait()
        SERVERS.discard(process.pid)


def htpasswd(directory: Path) -> dict[str, object]:
    """The `auth` section for Basic, with one user."""
    lines = subprocess.run(
        [program("htpasswd"), "-Bbn", USER, PASSWORD], capture_output=True, text=True, check=True
    ).stdout
    (directory / "htpasswd").write_text(lines)
    return {"htpasswd": {"realm": "basic-realm", "path": str(directory / "htpasswd")}}


@dataclass
class TokenServer:
    """Gives tokens that the registry believes in: RS256, its certificate in the header."""

    directory: Path
    requests: list[dict[str, list[str]]] = field(default_factory=list)
    """The query or form of every request, in order."""
    lifetime: int = 300
    ended: int = 0
    """So many tokens more are given out that ended an hour ago."""
    url: str = ""

    @property
    def auth(self) -> dict[str, object]:
        """The `auth` section of the registry's configuration."""
        bundle = str(self.directory / "token.crt")
        realm = {
            "realm": f"{self.url}/token",
            "service": _SERVICE,
            "issuer": _ISSUER,
            "rootcertbundle": bundle,
        }
        return {"token": realm}

    def token(self, user: str, scopes: list[str]) -> str:
        """A signed token that grants whatever is asked for (distribution's "Token Authentication")."""
        now = int(time.time())
        granted = [scope.split(":") for scope in scopes]
        access = [{"type": kind, "name": name, "actions": acts.split(",")} for kind, name, acts in granted]
        claims = {
            "iss": _ISSUER,
            "sub": user,
            "aud": _SERVICE,
            "jti": str(len(self.requests)),
            "access": access,
        }
        if self.ended > 0:
            self.ended -= 1
            now -= 3600
        times = {"iat": now, "nbf": now - 5, "exp": now + self.lifetime}
        lines = (self.directory / "token.crt").read_text().splitlines()
        header = {"typ": "JWT", "alg": "RS256", "x5c": ["".join(lines[1:-1])]}
        signed = b".".join(_encoded(json.dumps(part).encode()) for part in (header, {**claims, **times}))
        signature = subprocess.run(
            [program("openssl"), "dgst", "-sha256", "-sign", str(self.directory / "token.key")],
            input=signed,
            capture_output=True,
            check=True,
        ).stdout
        return (signed + b"." + _encoded(signature)).decode()


@contextmanager
def token_server(directory: Path) -> Iterator[TokenServer]:
    """Run a token server in a thread; it knows one user and one identity token, and gives others nothing."""
    certificate(directory, "token", "token signer")
    tokens = TokenServer(directory)
    expected = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            tokens.requests.append(query)
            if self.headers["Authorization"] == expected:
                self.grant("token", query.get("scope", []))
            else:
                self.answer(401, {"details": "incorrect username or password"})

        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            tokens.requests.append(form)
            if form["grant_type"] == ["refresh_token"] and form["refresh_token"] == [IDENTITY_TOKEN]:
                self.grant("access_token", form["scope"][0].split())
            else:
                self.answer(401, {"details": "invalid refresh token"})

        def grant(self, name: str, scopes: list[str]) -> None:
            issued_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            token = tokens.token(USER, scopes)
            self.answer(200, {name: token, "expires_in": tokens.lifetime, "issued_at": issued_at})

        def answer(self, status: int, document: Mapping[str, object]) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    tokens.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield tokens
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def certificate(directory: Path, name: str, subject: str) -> tuple[Path, Path]:
    """A self-signed certificate and its key: `name.crt`, `name.key`."""
    crt, key = directory / f"{name}.crt", directory / f"{name}.key"
    command = [program("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    names = ["-subj", f"/CN={subject}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:0.0.0.0"]
    subprocess.run([*command, *names, "-keyout", str(key), "-out", str(crt)], capture_output=True, check=True)
    return crt, key


def _encoded(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(200):
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended: {log.read_text()}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        # These servers say nothing that could be waited for.
        time.sleep(0.05)
    raise TimeoutError(f"{process.args!r} does not answer: {log.read_text()}")
