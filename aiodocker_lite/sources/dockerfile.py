"""The images a Dockerfile is built from: ``FROM``, ``COPY --from`` and ``RUN --mount=…,from=``.

Of all stages, whichever a build would need. What an ``ONBUILD`` says is for other builds. Dockerfile
reference: FROM, ARG, COPY, RUN --mount, and "Automatic platform ARGs in the global scope".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from aiodocker_lite.errors import InvalidSource
from aiodocker_lite.platforms import Platform
from aiodocker_lite.sources.instructions import Instruction, instructions
from aiodocker_lite.sources.naming import named, platform_of
from aiodocker_lite.sources.words import expanded, unquoted
from aiodocker_lite.wanted import Wanted

_SCRATCH = "scratch"


def images(
    text: str, file: str, build_args: Mapping[str, str], target: Platform | None = None
) -> Iterator[Wanted]:
    """Every image; without a platform where it is the one that is built for. Raises InvalidSource."""
    escape, found = instructions(text, file)
    known = list(found)
    values = _platforms(target or Platform.here())
    stages = _Stages(known)
    for one in known:
        place = f"{file}: line {one.line}"
        if one.word == "ARG" and not stages.begun:
            _declare(one, values, build_args, escape, place)
        elif one.word == "FROM":
            yield from _base(one, values, stages, escape, place, target)
        elif not stages.begun:
            raise InvalidSource(place, f"{one.word} comes before the first FROM: is this a Dockerfile?")
        else:
            for name in _mounted(one, escape):
                if "$" in name:
                    raise InvalidSource(
                        place, f"'{name}': only FROM has variables; give that image a stage there"
                    )
                if not stages.has(name):
                    yield named(name, place)
    if not stages.begun:
        raise InvalidSource(file, "has no FROM")


class _Stages:
    """The names of the stages: all of them, and those that have begun."""

    def __init__(self, known: list[Instruction]) -> None:
        self._all = {name for one in known if (name := _stage(one))}
        self._earlier: set[str] = set()
        self.begun = 0

    def begin(self, one: Instruction) -> None:
        self.begun += 1
        if name := _stage(one):
            self._earlier.add(name)

    def is_earlier(self, name: str) -> bool:
        return name.lower() in self._earlier

    def has(self, name: str) -> bool:
        """A stage, by name or number, or nothing at all: no image."""
        return name.isdecimal() or name.lower() in self._all or name == _SCRATCH


def _stage(one: Instruction) -> str | None:
    named_so = one.word == "FROM" and len(one.words) == 3 and one.words[1].lower() == "as"
    return one.words[2].lower() if named_so else None


def _declare(
    one: Instruction, values: dict[str, str], build_args: Mapping[str, str], escape: str, place: str
) -> None:
    for word in one.words:
        name, has_default, default = word.partition("=")
        if name in build_args:
            values[name] = build_args[name]
        elif has_default:
            values[name] = expanded(default, values, escape, place)


def _base(
    one: Instruction,
    values: Mapping[str, str],
    stages: _Stages,
    escape: str,
    place: str,
    target: Platform | None,
) -> Iterator[Wanted]:
    if len(one.words) != 1 and not _stage(one):
        raise InvalidSource(place, "FROM is followed by an image, or by an image, AS and a name")
    name = expanded(one.words[0], values, escape, place)
    platform = None
    for flag in one.flags:
        if flag.startswith("--platform="):
            text = expanded(flag.partition("=")[2], values, escape, place)
            platform = platform_of(text, place)
    if not name:
        raise InvalidSource(place, f"'{one.words[0]}' is empty; give its variable with --build-arg")
    is_image = name != _SCRATCH and not stages.is_earlier(name)
    stages.begin(one)
    if is_image:
        usual = platform is None or platform == (target or Platform.here())
        yield named(name, place, None if usual else str(platform))


def _mounted(one: Instruction, escape: str) -> Iterator[str]:
    """What a COPY or a RUN takes files from."""
    for flag in one.flags:
        name, _, value = flag.partition("=")
        if one.word == "COPY" and name == "--from":
            yield unquoted(value, escape)
        if one.word == "RUN" and name == "--mount":
            fields = dict(field.partition("=")[::2] for field in unquoted(value, escape).split(","))
            if source := fields.get("from"):
                yield source


def _platforms(target: Platform) -> dict[str, str]:
    """What the builder itself knows before the first FROM."""
    known: dict[str, str] = {}
    for prefix, platform in (("TARGET", target), ("BUILD", Platform.here())):
        known |= {
            f"{prefix}PLATFORM": str(platform),
            f"{prefix}OS": platform.os,
            f"{prefix}ARCH": platform.architecture,
            f"{prefix}VARIANT": platform.variant or "",
        }
    return known
