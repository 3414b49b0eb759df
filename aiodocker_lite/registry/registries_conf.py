"""`registries.conf` of podman, skopeo and buildah: rewritten, insecure and blocked registries, and mirrors.

containers-registries.conf(5), version 2, and containers-registries.conf.d(5). What is about short
names (`unqualified-search-registries`, `aliases`) is left alone: a name means what it means to docker.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aiodocker_lite.errors import UnusableConfig
from aiodocker_lite.registry.configfile import Section, read_config

_VARIABLE = "CONTAINERS_REGISTRIES_CONF"
_USES = {"": (True, True), "all": (True, True), "tag-only": (True, False), "digest-only": (False, True)}
"""What a mirror is asked for: images named by tag, images named by digest."""


@dataclass(frozen=True, slots=True)
class Mirror:
    """A `[[registry.mirror]]` table."""

    location: str
    insecure: bool
    for_tags: bool
    for_digests: bool


@dataclass(frozen=True, slots=True)
class Rule:
    """A `[[registry]]` table."""

    prefix: str
    location: str
    """Empty where nothing is rewritten."""
    insecure: bool
    blocked: bool
    mirrors: tuple[Mirror, ...]
    path: Path
    """The file it is in."""

    def rest(self, name: str) -> str | None:
        """What is left of a name behind the prefix; None where the prefix is not of this name."""
        if self.prefix.startswith("*."):
            head, found, rest = name.partition(self.prefix[1:])
            fits, separators = bool(found) and "/" not in head, ":/@"
        else:
            fits, rest = name.startswith(self.prefix), name[len(self.prefix) :]
            # `example.com` is not `example.com:5000`, and `example.com/app` is `example.com/app:tag` too.
            separators = ":/@" if "/" in self.prefix else "/"
        return rest if fits and (not rest or rest[0] in separators) else None


def rule_for(name: str, rules: Iterable[Rule]) -> Rule | None:
    """The rule with the longest prefix of a full name, such as ``docker.io/library/alpine:latest``."""
    fitting = [rule for rule in rules if rule.rest(name) is not None]
    return max(fitting, key=lambda rule: len(rule.prefix), default=None)


def read_rules(directories: Sequence[Path], environ: Mapping[str, str]) -> list[Rule]:
    """What all files together say; of two rules for one prefix the later counts. Raises UnusableConfig.

    The first `containers/registries.conf` of the directories is read, or the one that
    ``CONTAINERS_REGISTRIES_CONF`` names, and then the drop-ins, the system's before the user's.
    Where the user has a file, the system's drop-ins are not read.
    """
    rules: dict[str, Rule] = {}
    for path in _files(directories, environ):
        config = read_config(path)
        if config is not None:
            rules.update((rule.prefix, rule) for rule in _rules(config))
        elif str(path) == environ.get(_VARIABLE):
            raise UnusableConfig(str(path), f"it is not there, and {_VARIABLE} names it")
    return list(rules.values())


def _files(directories: Sequence[Path], environ: Mapping[str, str]) -> Iterator[Path]:
    homes = [directory / "containers" for directory in directories]
    if named := environ.get(_VARIABLE):
        yield Path(named)
    else:
        for number, home in enumerate(homes, 1):
            if (home / "registries.conf").exists():
                yield home / "registries.conf"
                homes = homes[:number]
                break
    for home in reversed(homes):
        yield from sorted((home / "registries.conf.d").glob("*.conf"))


def _rules(config: Section) -> Iterator[Rule]:
    for table in config.sections("registry"):
        location = _location(table, "location")
        prefix = _location(table, "prefix") or location
        if not prefix:
            raise table.wrong("location", "is missing, and 'prefix' too")
        yield Rule(
            prefix,
            location,
            table.value("insecure", bool, False),
            table.value("blocked", bool, False),
            tuple(_mirrors(table)),
            config.path,
        )
    # Version 1, which has neither mirrors nor prefixes.
    old = config.section("registries")
    blocked, insecure = (old.section(key).texts("registries") for key in ("block", "insecure"))
    for name in dict.fromkeys(blocked + insecure):
        yield Rule(name, name, name in insecure, name in blocked, (), config.path)


def _mirrors(table: Section) -> Iterator[Mirror]:
    only_digests = table.value("mirror-by-digest-only", bool, False)
    for mirror in table.sections("mirror"):
        location = _location(mirror, "location")
        if not location:
            raise mirror.wrong("location", "is missing")
        use = mirror.value("pull-from-mirror", str, "")
        if use not in _USES:
            raise mirror.wrong("pull-from-mirror", f"is none of {', '.join(filter(None, _USES))}")
        if use and only_digests:
            raise mirror.wrong("pull-from-mirror", "cannot be used together with 'mirror-by-digest-only'")
        for_tags, for_digests = _USES[use or ("digest-only" if only_digests else "all")]
        yield Mirror(location, mirror.value("insecure", bool, False), for_tags, for_digests)


def _location(table: Section, key: str) -> str:
    text = table.value(key, str, "").rstrip("/")
    if "://" in text:
        raise table.wrong(key, "has a scheme: it is a host, perhaps with a port and a path")
    return text
