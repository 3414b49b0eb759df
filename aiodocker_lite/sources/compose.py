"""Which images a Compose project needs: those of the services that its profiles choose.

As `docker compose pull` has it, whose words for what is left out these are. Compose specification:
Profiles, and "image", "build", "pull_policy", "depends_on" and "pre_start" of services.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from aiodocker_lite.errors import InvalidSource
from aiodocker_lite.sources.files import STDIN, name_of
from aiodocker_lite.sources.naming import named
from aiodocker_lite.sources.projects import Project
from aiodocker_lite.wanted import Wanted

FILES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
OVERRIDES = (
    "compose.override.yml", "compose.override.yaml", "docker-compose.override.yml", "docker-compose.override.yaml",
)  # fmt: skip


def discovered(directory: Path) -> list[str]:
    """The files Compose reads where none is named: the first of its names, and the first override."""
    for names in (FILES, OVERRIDES):
        found = [str(path) for name in names if (path := directory / name).is_file()]
        if names is FILES and not found:
            return []
        if names is FILES:
            files = found[:1]
    return files + found[:1]


def images(
    paths: Sequence[str],
    environment: Mapping[str, str],
    note: Callable[[str], None],
    *,
    profiles: Sequence[str] = (),
    env_files: Sequence[str] = (),
    buildable: bool = True,
    text: str | None = None,
) -> Iterator[Wanted]:
    """The images of the project of these files; `text` is that of the first, where it was read. Raises InvalidSource."""
    file = name_of(paths[0])
    directory = Path() if paths[0] == STDIN else Path(paths[0]).parent
    project = Project.at(directory, env_files, environment, lambda text: note(f"{file}: {text}"))
    services = project.services(paths, text)
    if not profiles:
        profiles = [name.strip() for name in project.variables.get("COMPOSE_PROFILES", "").split(",")]
    chosen = _chosen(services, set(profiles), file)
    for name, service in chosen.items():
        try:
            yield from _of_service(service, f"{file}: services.{name}", note, buildable)
        except InvalidSource as error:
            missing = f"; not set: {', '.join(project.unset)}" if project.unset else ""
            raise InvalidSource(error.place, f"{error.reason}{missing}") from None


def _chosen(services: Mapping[str, object], profiles: set[str], file: str) -> dict[str, dict[str, object]]:
    """The services without profiles, and those of the given ones; all that they depend on is among them."""
    known = {name: service for name, service in services.items() if isinstance(service, dict)}
    chosen = {}
    for name, service in known.items():
        its = service.get("profiles") or []
        if not isinstance(its, list):
            raise InvalidSource(f"{file}: services.{name}.profiles", "is no list")
        if not its or "*" in profiles or profiles & {str(one) for one in its}:
            chosen[name] = service
    for name, service in chosen.items():
        place = f"{file}: services.{name}.depends_on"
        for other, how in (service.get("depends_on") or {}).items():
            if other not in known:
                raise InvalidSource(place, f"there is no service '{other}'")
            optional = isinstance(how, dict) and str(how.get("required")).lower() == "false"
            if other not in chosen and not optional:
                needed = " or ".join(str(one) for one in known[other]["profiles"])
                raise InvalidSource(place, f"'{other}' is only there with the profile {needed}")
    return chosen


def _of_service(
    service: dict[str, object], place: str, note: Callable[[str], None], buildable: bool
) -> Iterator[Wanted]:
    policy = service.get("pull_policy")
    image = service.get("image")
    if "provider" in service:
        return
    if policy == "never":
        note(f"{place} is never pulled (pull_policy), and left out")
        return
    if image is None and "build" in service:
        note(f"{place} is built, and names no image")
    elif image is None:
        raise InvalidSource(place, "has neither an image nor a build")
    elif policy == "build" or ("build" in service and not buildable):
        note(f"{place} is built, and left out")
    else:
        yield _image(image, str(service.get("place", place)) + ".image", service.get("platform"))
    volumes, steps = service.get("volumes"), service.get("pre_start")
    for target, source in volumes.items() if isinstance(volumes, dict) else ():
        if source:
            yield _image(source, f"{place}.volumes: {target}")
    for position, step in enumerate(steps if isinstance(steps, list) else ()):
        if isinstance(step, dict) and step.get("image"):
            yield _image(step["image"], f"{place}.pre_start[{position}].image")


def _image(text: object, place: str, platform: object = None) -> Wanted:
    if not isinstance(text, str) or not isinstance(platform, str | None):
        raise InvalidSource(place, "is no text")
    return named(text, place, platform)
