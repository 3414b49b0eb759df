"""Which kind of source a file is, and the images it names."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Literal, get_args

from aiodocker_lite.errors import InvalidOption, InvalidSource
from aiodocker_lite.platforms import Platform
from aiodocker_lite.sources import lists
from aiodocker_lite.sources.files import BYTES_MAX, STDIN, name_of, text_of
from aiodocker_lite.sources.merging import merged
from aiodocker_lite.wanted import Wanted

Kind = Literal["list", "compose", "kubernetes", "dockerfile"]
KINDS: tuple[str, ...] = get_args(Kind)
_COMPOSE = re.compile(r"(?:docker-)?compose.*\.ya?ml", re.IGNORECASE)
_DOCKERFILE = re.compile(r"(?:dockerfile|containerfile).*|.*\.(?:dockerfile|containerfile)", re.IGNORECASE)
_MANIFEST = re.compile(r".*\.(?:ya?ml|json)", re.IGNORECASE)
_FROM = re.compile(r"(?:FROM|ARG)\s+\S", re.IGNORECASE)
_YAML = re.compile(r"(?:---|%|[{\[]|-(?:\s|$)|[\w.\"'-]+\s*:(?:\s|$))")


@dataclass(frozen=True, slots=True)
class Choices:
    """What somebody says beside the files."""

    profiles: tuple[str, ...] = ()
    """Of Compose; `*` is all. Without one, COMPOSE_PROFILES."""
    env_files: tuple[str, ...] = ()
    """For Compose; without one, ``.env`` beside the file."""
    buildable: bool = True
    """Compose services that have a build too."""
    build_args: Mapping[str, str] = field(default_factory=dict)
    """For Dockerfiles."""
    platform: Platform | None = None
    """What a Dockerfile is built for; without one, this machine."""
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)


def read(
    path: str,
    kind: str | None = None,
    choices: Choices | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> list[Wanted]:
    """The images that a file, a directory or standard input (`-`) names, each once.

    A directory is a Compose project, found as Compose finds one, or else all its Kubernetes files. `note`
    hears of what is left out, in a sentence each. Blocks while it reads. Raises InvalidSource, and
    InvalidOption for a kind that is none of `KINDS`.
    """
    if kind not in (None, *KINDS):
        raise InvalidOption("--kind", f"'{kind}' is none of {', '.join(KINDS)}")
    try:
        found = merged(_images(path, kind, choices or Choices(), note))
    except OSError as error:
        raise InvalidSource(name_of(path), error.strerror or str(error)) from None
    if not found:
        note(f"{name_of(path)} names no image")
    return found


def _images(path: str, kind: str | None, choices: Choices, note: Callable[[str], None]) -> Iterator[Wanted]:
    if path != STDIN and Path(path).is_dir():
        return _of_directory(Path(path), kind, choices, note)
    kind = kind or _by_name(path)
    if kind == "compose":
        _tell_of_override(path, note)
        return _compose([path], choices, note)
    return _of_text(text_of(path), path, kind, choices, note)


def _of_text(
    text: str, path: str, kind: str | None, choices: Choices, note: Callable[[str], None]
) -> Iterator[Wanted]:
    file = name_of(path)
    kind_seen = kind or _by_content(text)
    if kind_seen in ("list", "dockerfile") and len(text) > BYTES_MAX:
        raise InvalidSource(file, f"is larger than {BYTES_MAX >> 20} MiB")
    if kind_seen == "list":
        return lists.images(text, file)
    if kind_seen == "dockerfile":
        from aiodocker_lite.sources import dockerfile

        return dockerfile.images(text, file, choices.build_args, choices.platform)
    from aiodocker_lite.sources import kubernetes

    objects = list(kubernetes.objects(text, file))
    if kind is None and objects:
        is_compose = any(
            isinstance(one, dict) and "services" in one and "apiVersion" not in one for one in objects
        )
        if is_compose:
            return _compose([path], choices, note, text)
        if not any(isinstance(one, dict) and "apiVersion" in one for one in objects):
            raise InvalidSource(file, f"is of no kind that is known; say which with --kind {'|'.join(KINDS)}")
    return kubernetes.images(objects, file)


def _of_directory(
    directory: Path, kind: str | None, choices: Choices, note: Callable[[str], None]
) -> Iterator[Wanted]:
    from aiodocker_lite.sources import compose

    files = compose.discovered(directory) if kind in (None, "compose") else []
    if files:
        return _compose(files, choices, note)
    wanted = _DOCKERFILE if kind == "dockerfile" else _MANIFEST
    others = sorted(
        str(path) for path in directory.iterdir() if wanted.fullmatch(path.name) and path.is_file()
    )
    if not others or kind in ("compose", "list"):
        raise InvalidSource(
            str(directory), "is a directory without a Compose file, and without Kubernetes files"
        )
    return (
        one for path in others for one in _of_text(text_of(path), path, kind or "kubernetes", choices, note)
    )


def _compose(
    paths: list[str], choices: Choices, note: Callable[[str], None], text: str | None = None
) -> Iterator[Wanted]:
    from aiodocker_lite.sources import compose

    return compose.images(
        paths,
        choices.environment,
        note,
        profiles=choices.profiles,
        env_files=choices.env_files,
        buildable=choices.buildable,
        text=text,
    )


def _tell_of_override(path: str, note: Callable[[str], None]) -> None:
    """As Compose, which takes the override only where no file was named."""
    from aiodocker_lite.sources import compose

    both = compose.discovered(Path(path).parent)
    if path != STDIN and len(both) == 2 and Path(both[0]) == Path(path):
        note(f"{both[1]} is not read; name the directory to have both")


def _by_name(path: str) -> Kind | None:
    name = PurePath(path).name
    if _COMPOSE.fullmatch(name):
        return "compose"
    return "dockerfile" if _DOCKERFILE.fullmatch(name) else None


def _by_content(text: str) -> str:
    """By the first line that is no comment; `yaml` may be Compose or Kubernetes."""
    for line in text.split("\n"):
        if line.strip() and not line.lstrip().startswith("#"):
            return "dockerfile" if _FROM.match(line) else "yaml" if _YAML.match(line) else "list"
    return "list"
