"""A certificate authority made by openssl, and what it signs."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.fakes.processes import program

_KEY = "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"


@dataclass(frozen=True)
class Authority:
    """An authority whose certificate is `ca.crt` in a directory of its own."""

    directory: Path

    @classmethod
    def make(cls, directory: Path) -> Authority:
        directory.mkdir(parents=True, exist_ok=True)
        _openssl(
            directory,
            *("req", "-x509", *_KEY, "-nodes", "-days", "2", "-subj", "/CN=an authority"),
            *("-keyout", "ca.key", "-out", "ca.crt"),
        )
        return cls(directory)

    @property
    def certificate(self) -> Path:
        return self.directory / "ca.crt"

    def issue(
        self, name: str, alternative: str = "DNS:localhost,IP:127.0.0.1", days: int = 2
    ) -> tuple[Path, Path]:
        """A certificate for these names and its key: `name.cert`, `name.key`; one of -1 days has expired."""
        (self.directory / f"{name}.ext").write_text(f"subjectAltName={alternative}")
        _openssl(
            self.directory,
            *("req", *_KEY, "-nodes", "-subj", f"/CN={name}"),
            *("-keyout", f"{name}.key", "-out", f"{name}.csr"),
        )
        _openssl(
            self.directory,
            *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"),
            *("-days", str(days), "-extfile", f"{name}.ext", "-out", f"{name}.cert"),
        )
        return self.directory / f"{name}.cert", self.directory / f"{name}.key"

    def server(self, name: str, *, client: Authority | None = None, **more: object) -> ssl.SSLContext:
        """The server's side of TLS; with `client`, only for whoever has a certificate of that authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.issue(name, **more))  # type: ignore[arg-type]
        if client is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(client.certificate)
        return context


def _openssl(directory: Path, *words: str) -> None:
    subprocess.run([program("openssl"), *words], cwd=directory, capture_output=True, check=True)
