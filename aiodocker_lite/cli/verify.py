"""`verify`: is what is here still what was pulled?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from aiodocker_lite.cli import exits
from aiodocker_lite.cli.options import Authfile, CertDir, Insecure, Limit, Progress, TlsVerify, tls_settings
from aiodocker_lite.cli.progress import watching
from aiodocker_lite.cli.session import run_engine
from aiodocker_lite.errors import printable
from aiodocker_lite.settings import Limits

if TYPE_CHECKING:
    from aiodocker_lite.engine import Checked, Engine


def verify(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[IMAGE...]", help="Names or image IDs; all, if none is given."),
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Unpack or fetch again what is damaged, and only that.")
    ] = False,
    insecure: Insecure = False,
    tls_verify: TlsVerify = "true",
    cert_dir: CertDir = None,
    authfile: Authfile = None,
    limit: Limit = None,
    progress: Progress = "auto",
) -> int:
    """Check every document, blob and unpacked file of images.

    All is compared with what the manifest's digest says. What is damaged is named, and not used
    any more until it was repaired, or pulled again. Exits with 1 if anything is damaged.
    """

    async def work(engine: Engine) -> list[Checked]:
        with watching(progress, doing="Verifying") as watch:

            def show(checked: Checked) -> None:
                with watch.aside():
                    _report(checked, repair=repair)

            return await engine.verify(names or (), repair=repair, on_checked=show, progress=watch)

    limits, tls = Limits.parse(limit or ()), tls_settings(insecure, tls_verify, cert_dir)
    found = run_engine(context, work, **tls, authfile=authfile, limits=limits)
    return 0 if all(checked.is_sound for checked in found) else 1


def _report(checked: Checked, *, repair: bool) -> None:
    image = checked.image
    if checked.repaired:
        verdict = "repaired"
    elif checked.flaws or checked.error:
        verdict = (
            "not repaired" if checked.flaws and repair else "damaged" if checked.flaws else "not checked"
        )
    else:
        layers = len(image.manifest.layers)
        forms = "packed and unpacked" if checked.packed else "unpacked, for their blobs are not kept"
        verdict = f"ok: manifest, configuration, {layers} layer{'' if layers == 1 else 's'}, {forms}"
    typer.echo(f"{image.name}: {verdict}")
    for flaw in checked.flaws:
        typer.echo(f"  {printable(str(flaw))}")
    if checked.error is not None:
        exits.complain(checked.error)
