"""A Compose project from its files: variables, include, extends and merging, in the order Compose has them.

Of a service only what decides about images is read; variables elsewhere in it need no value. Compose
specification: Include, Merge and override, and "extends" of services.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from aiodocker_lite.errors import InvalidSource
from aiodocker_lite.sources import dotenv
from aiodocker_lite.sources.files import BYTES_MAX, name_of, text_of
from aiodocker_lite.sources.interpolation import interpolated
from aiodocker_lite.sources.yamls import Tagged, documents

Services = dict[str, object]
_PRESENT = {"build", "provider"}
"""That they are there is all that counts."""
_KEYS = {
    "depends_on", "extends", "image", "platform", "pre_start", "profiles", "pull_policy", "volumes",
} | _PRESENT  # fmt: skip
_FILES_MAX = 500
_CHAIN_MAX = 50


@dataclass(slots=True)
class _Seen:
    """What all files of a project share: those read for extends, and how many there were."""

    note: Callable[[str], None]
    bases: dict[Path, Services] = field(default_factory=dict)
    unset: dict[str, None] = field(default_factory=dict)
    files: int = 0


@dataclass(frozen=True, slots=True)
class Project:
    """Where files are looked for, and what variables are worth there."""

    directory: Path
    variables: Mapping[str, str]
    seen: _Seen
    trail: tuple[str, ...] = ()
    """The files that led here by include."""

    @classmethod
    def at(
        cls,
        directory: Path,
        env_files: Iterable[str],
        outside: Mapping[str, str],
        note: Callable[[str], None],
    ) -> Project:
        """A project of its own. Raises InvalidSource."""
        return cls(directory, _environment(directory, env_files, outside), _Seen(note))

    @property
    def unset(self) -> tuple[str, ...]:
        """Variables without a value that were asked for."""
        return tuple(self.seen.unset)

    def services(self, paths: Iterable[str], text: str | None = None) -> Services:
        """The services of these files, each file over those before it; `text` is the first one's, if it was read.

        Raises InvalidSource.
        """
        found: Services = {}
        for path in paths:
            if path in self.trail:
                raise InvalidSource(name_of(path), f"includes itself, by {' and '.join(self.trail)}")
            for document in self._documents(path, text):
                if isinstance(whole := document.get("services"), Tagged):
                    found = {}
                    document = {**document, "services": merged(None, whole)}
                inner = replace(self, trail=(*self.trail, path))
                own = self._own(document, path)
                included = inner._included(document, path)
                # What is included is below; tags elsewhere are for the files before.
                own = included | {
                    n: merged(included[n], one) if n in included else one for n, one in own.items()
                }
                own = {name: self._extended(name, own, path, ()) for name in own}
                found = _mapping(merged(found, own))
            text = None
        return found

    def _documents(self, path: str, text: str | None = None) -> list[dict[str, object]]:
        self.seen.files += 1
        if self.seen.files > _FILES_MAX or len(self.trail) > _CHAIN_MAX:
            raise InvalidSource(
                name_of(path), f"is one of more than {_FILES_MAX} files, or deeper than {_CHAIN_MAX}"
            )
        file = name_of(path)
        found = []
        for document in documents(text_of(path) if text is None else text, file, unique_keys=True):
            if not isinstance(document, dict):
                raise InvalidSource(file, "is no Compose file: it is no mapping with 'services'")
            found.append(document)
        return found

    def _own(self, document: dict[str, object], path: str) -> Services:
        services = document.get("services")
        file = name_of(path)
        if not isinstance(services or {}, dict):
            raise InvalidSource(f"{file}: services", "is no mapping of services")
        return {
            name: self._trimmed(service, f"{file}: services.{name}")
            for name, service in _mapping(services).items()
        }

    def _trimmed(self, service: object, place: str) -> object:
        """What counts of a service, with its variables, in the form that is merged."""
        if isinstance(service, Tagged):
            return Tagged(service.tag, self._trimmed(service.value, place))
        if service is None:
            return None
        if not isinstance(service, dict):
            raise InvalidSource(place, "is no mapping")
        kept: Services = {}
        for key in sorted(_KEYS & service.keys()):
            at = f"{place}.{key}"
            value = service[key]
            kept[key] = _present(value) if key in _PRESENT else _mergeable(key, self._valued(value, at), at)
        if "image" in kept:
            kept["place"] = place
        return kept

    def _valued(self, value: object, place: str) -> object:
        match value:
            case str():
                return interpolated(value, self.variables, place, self._is_unset)
            case list():
                return [self._valued(item, place) for item in value]
            case dict():
                return {key: self._valued(item, place) for key, item in value.items()}
            case Tagged():
                return Tagged(value.tag, self._valued(value.value, place))
            case _:
                return value

    def _is_unset(self, name: str) -> None:
        if name not in self.seen.unset:
            self.seen.unset[name] = None
            self.seen.note(f"the variable {name} is not set, and counts as empty")

    def _included(self, document: dict[str, object], path: str) -> Services:
        """The services of the files that this one includes."""
        place = f"{name_of(path)}: include"
        entries = self._valued(document.get("include") or [], place)
        if not isinstance(entries, list):
            raise InvalidSource(place, "is no list")
        found: Services = {}
        for position, entry in enumerate(entries):
            at = f"{place}[{position}]"
            entry = {"path": entry} if isinstance(entry, str) else entry
            if not isinstance(entry, dict):
                raise InvalidSource(at, "is neither a path nor a mapping with one")
            paths = [self._local(text, at) for text in _texts(entry.get("path"), at)]
            if not paths:
                raise InvalidSource(at, "has no path")
            base = entry.get("project_directory")
            directory = self.directory / base if isinstance(base, str) else Path(paths[0]).parent
            env_files = [str(self.directory / text) for text in _texts(entry.get("env_file"), at)]
            variables = _environment(directory, env_files, self.variables)
            inner = replace(self, directory=directory, variables=variables)
            found = _mapping(merged(found, inner.services(paths)))
        return found

    def _local(self, text: str, place: str) -> str:
        if "://" in text or text.startswith(("git@", "oci:")):
            raise InvalidSource(place, f"'{text}' is no local file; fetch it, and name it with its path")
        return str(self.directory / text)

    def _extended(self, name: str, services: Services, path: str, chain: tuple[str, ...]) -> object:
        """A service with what it extends below it."""
        service = services.get(name)
        extends = service.get("extends") if isinstance(service, dict) else None
        if not isinstance(service, dict) or extends is None:
            return service
        place = f"{name_of(path)}: services.{name}.extends"
        if (link := f"{path}: {name}") in chain or len(chain) > _CHAIN_MAX:
            raise InvalidSource(place, "extends itself, or too many others")
        base = extends.get("service") if isinstance(extends, dict) else extends
        file = extends.get("file") if isinstance(extends, dict) else None
        if not isinstance(base, str):
            raise InvalidSource(place, "names no service")
        where, elsewhere = self, path
        if isinstance(file, str):
            elsewhere = self._local(file, place)
            where = replace(self, directory=Path(elsewhere).parent)
            services = where._bases(elsewhere)
        if base not in services:
            raise InvalidSource(place, f"there is no service '{base}' in {name_of(elsewhere)}")
        below = where._extended(base, services, elsewhere, (*chain, link))
        over = {key: value for key, value in service.items() if key != "extends"}
        return merged(below, over)

    def _bases(self, path: str) -> Services:
        if Path(path) not in self.seen.bases:
            found: Services = {}
            for document in self._documents(path):
                found = _mapping(merged(found, self._own(document, path)))
            self.seen.bases[Path(path)] = found
        return self.seen.bases[Path(path)]


def merged(base: object, over: object) -> object:
    """One value over another: mappings by key, lists one behind the other, anything else the later one."""
    match over:
        case Tagged():
            return merged(None, over.value) if over.tag == "!override" else None
        case None:
            return base
        case dict():
            result = dict(base) if isinstance(base, dict) else {}
            for key, value in over.items():
                result[key] = merged(result.get(key), value)
            return {key: value for key, value in result.items() if value is not None}
        case list():
            return [*(base if isinstance(base, list) else []), *(merged(None, item) for item in over)]
        case _:
            return over


def _present(value: object) -> object:
    if isinstance(value, Tagged):
        return Tagged(value.tag, True)
    return None if value is None else True


def _mergeable(key: str, value: object, place: str) -> object:
    """Lists that stand for mappings as these, so that merging replaces what has the same key."""
    if isinstance(value, Tagged):
        return Tagged(value.tag, _mergeable(key, value.value, place))
    if key == "depends_on":
        if isinstance(value, dict):
            return {name: how or {} for name, how in value.items()}
        return {name: {} for name in _texts(value, place)}
    if key == "volumes" and isinstance(value, list):
        return dict(_volume(item) for item in value)
    return value


def _volume(item: object) -> tuple[str, object]:
    """The place in the container, and the image that is mounted there, or nothing of interest."""
    if isinstance(item, dict):
        image = item.get("source") if item.get("type") == "image" else None
        return str(item.get("target")), image or ""
    parts = str(item).split(":")
    return parts[1] if len(parts) > 1 else parts[0], ""


def _environment(directory: Path, env_files: Iterable[str], outside: Mapping[str, str]) -> dict[str, str]:
    """What variables are worth: the environment first, then the files, ``.env`` where none is named."""
    files = list(env_files)
    if not files and (usual := directory / ".env").is_file():
        files = [str(usual)]
    found: dict[str, str] = {}
    for file in files:
        found |= dotenv.variables(text_of(file, BYTES_MAX), file, {**found, **outside})
    return {**found, **outside}


def _mapping(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _texts(value: object, place: str) -> list[str]:
    """A text, or a list of them."""
    found = [] if value is None else value if isinstance(value, list) else [value]
    texts = [item for item in found if isinstance(item, str)]
    if len(texts) < len(found):
        raise InvalidSource(place, "is no text, and no list of texts")
    return texts
