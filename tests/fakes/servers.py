"""Real servers that stand between a client and a registry: nginx, tinyproxy, microsocks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fakes.processes import free_port, program, running


@contextmanager
def nginx(directory: Path, server: str, http: str = "", listen: str = "") -> Iterator[str]:
    """An nginx with one server; yields its `localhost:PORT`. `access.log` has a line for each request."""
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    temporary = "".join(
        f"{kind}_temp_path {directory}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (directory / "nginx.conf").write_text(
        f"daemon off; pid {directory}/pid; error_log {directory}/error.log; master_process off;"
        "events {} http { "
        'log_format line "$request_method $request_uri $status $http_authorization";'
        f"access_log {directory}/access.log line; {temporary} {http}"
        f"server {{ listen 127.0.0.1:{port} {listen}; {server} }} }}"
    )
    command = [program("nginx"), "-p", str(directory), "-c", str(directory / "nginx.conf")]
    with running(command, port, directory / "log"):
        yield f"localhost:{port}"


@contextmanager
def tinyproxy(directory: Path, *lines: str) -> Iterator[str]:
    """A forward proxy; yields its `127.0.0.1:PORT`. `proxy.log` has what it was asked for."""
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    settings = (
        f"Port {port}",
        "Listen 127.0.0.1",
        f'LogFile "{directory}/proxy.log"',
        "LogLevel Connect",
        *lines,
    )
    (directory / "tinyproxy.conf").write_text("\n".join(settings) + "\n")
    command = [program("tinyproxy"), "-d", "-c", str(directory / "tinyproxy.conf")]
    with running(command, port, directory / "log"):
        yield f"127.0.0.1:{port}"


@contextmanager
def microsocks(directory: Path, *options: str) -> Iterator[str]:
    """A SOCKS5 proxy; yields its `127.0.0.1:PORT`."""
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [program("microsocks"), "-i", "127.0.0.1", "-p", str(port), *options]
    with running(command, port, directory / "log"):
        yield f"127.0.0.1:{port}"
