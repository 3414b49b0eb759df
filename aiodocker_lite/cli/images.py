"""`images`, `inspect`, `tag` and `rmi`: what is in the store."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aiodocker_lite.cli import exits
from aiodocker_lite.cli.session import run_engine
from aiodocker_lite.cli.tables import ago, table
from aiodocker_lite.cli.templates import formatted
from aiodocker_lite.engine import Engine
from aiodocker_lite.errors import EngineError, InvalidReference
from aiodocker_lite.image import Image
from aiodocker_lite.reference import Reference
from aiodocker_lite.sizes import human_size

if TYPE_CHECKING:
    from aiodocker_lite.engine import Removed

_TITLES = {
    "ID": "IMAGE ID",
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "Digest": "DIGEST",
    "CreatedAt": "CREATED AT",
    "CreatedSince": "CREATED",
    "Size": "SIZE",
    "Platform": "PLATFORM",
    "Verified": "CONTENT VERIFIED",
}


def images(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME[:TAG]]", help="Only images of this name.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only print image IDs.")] = False,
    no_trunc: Annotated[bool, typer.Option("--no-trunc", help="Print whole IDs.")] = False,
    format: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT", help="'table' for docker's columns, 'json', or a template such as '{{.ID}}'."
        ),
    ] = None,
) -> int:
    """List images, and whether their content was verified.

    CONTENT VERIFIED says Yes where every blob and every unpacked layer was checked against its
    digest, Blobs only where a layer is not unpacked, No where something is missing, and Damaged where
    `verify` found it so.
    """
    rows = [
        row
        for row in run_engine(context, lambda engine: _rows(engine))
        if name is None or _matches(name, row[0])
    ]
    if quiet:
        for identity in dict.fromkeys(_identity(image, whole=no_trunc) for _, image in rows):
            typer.echo(identity)
    elif format not in (None, "table"):
        documents = [_as_json(reference, image, whole=no_trunc) for reference, image in rows]
        for line in formatted(format, documents, _TITLES):
            typer.echo(line)
    elif format == "table":
        head = ("REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE")
        typer.echo(
            table(head, (_docker_columns(reference, image, whole=no_trunc) for reference, image in rows))
        )
    else:
        ours = ("IMAGE NAME", "SIZE", "CONTENT VERIFIED")
        short = ((_title(reference, image), _size(image), image.verified) for reference, image in rows)
        typer.echo(table(ours, short))
    return 0


async def _rows(engine: Engine) -> list[tuple[Reference | None, Image]]:
    return [(name, image) for image in await engine.images() for name in image.names or (None,)]


def _matches(text: str, reference: Reference | None) -> bool:
    """A name without a tag matches all its tags."""
    if reference is None:
        return False
    asked = Reference.parse(text)
    has_tag = asked.tag is not None and text.endswith(f":{asked.tag}")
    return asked.name == reference.name and (not has_tag or asked.tag == reference.tag)


def _title(reference: Reference | None, image: Image) -> str:
    return reference.familiar if reference else f"<none> ({image.id.short})"


def _identity(image: Image, *, whole: bool) -> str:
    return str(image.id) if whole else image.id.short


def _docker_columns(reference: Reference | None, image: Image, *, whole: bool) -> tuple[str, ...]:
    return (
        reference.familiar_name if reference else "<none>",
        (reference.tag if reference else None) or "<none>",
        _identity(image, whole=whole),
        ago(image.config.created),
        _size(image),
    )


def _size(image: Image) -> str:
    """Of one that is damaged it may not be known."""
    return "-" if image.verified == "Damaged" and not image.size else human_size(image.size, 3)


def _as_json(reference: Reference | None, image: Image, *, whole: bool) -> dict[str, Any]:
    """Docker's keys and string values, and our own."""
    repository, tag, identity, since, size = _docker_columns(reference, image, whole=whole)
    return {
        "ID": identity,
        "Repository": repository,
        "Tag": tag,
        "Digest": str(image.pulled_digest),
        "CreatedAt": image.config.created,
        "CreatedSince": since,
        "Size": size,
        "SizeBytes": image.size,
        "SharedSize": "N/A",
        "UniqueSize": "N/A",
        "Containers": "N/A",
        "Platform": str(image.config.platform),
        "Verified": image.verified,
        "VerifiedAt": image.verified_at,
    }


def tag(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="IMAGE", help="A name or an image ID.")],
    target: Annotated[str, typer.Argument(metavar="NAME[:TAG]", help="The name to add.")],
) -> int:
    """Give an image one more name."""
    reference = Reference.parse(target)
    if reference.digest is not None:
        raise InvalidReference(target, "a tag cannot have a digest")
    run_engine(context, lambda engine: engine.tag(source, reference))
    return 0


def rmi(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="IMAGE...")],
    force: Annotated[
        bool, typer.Option("--force", "-f", help="Also if it has several names, or a container uses it.")
    ] = False,
) -> int:
    """Remove names of images, and images that have no name left.

    Exits with 1 if any of them could not be removed; the others are.
    """
    failed = False
    for name in names:
        try:
            removed: Removed = run_engine(context, partial(Engine.remove, name=name, force=force))
        except EngineError as error:
            failed = True
            exits.complain(error)
            continue
        for reference in removed.untagged:
            typer.echo(f"Untagged: {reference.familiar}")
        for digest in dict.fromkeys(removed.deleted):  # a plain layer is its own blob
            typer.echo(f"Deleted: {digest}")
    return 1 if failed else 0
