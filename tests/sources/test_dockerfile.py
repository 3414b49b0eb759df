"""Dockerfiles: the images a build begins from, and copies from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiodocker_lite.errors import InvalidSource
from aiodocker_lite.platforms import Platform
from aiodocker_lite.sources import dockerfile

HERE = Platform.here()
OTHER = Platform("linux", "s390x")


def seen(text: str, target: Platform | None = None, args: dict[str, str] | None = None) -> list[str]:
    return [
        f"{one.sources[0].removeprefix('D: line ')} {one.reference.familiar}{f' {one.platform}' if one.platform else ''}"
        for one in dockerfile.images(text, "D", args or {}, target)
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM alpine", ["1 alpine:latest"]),
        ("# c\n\n  from  alpine:3\t\n", ["3 alpine:3"]),
        ("FROM alpine\r\nRUN x\r\n", ["1 alpine:latest"]),
        ("FROM a AS b\nFROM b\nFROM B AS c\nFROM scratch", ["1 a:latest"]),
        ("FROM a AS a\nFROM a AS x", ["1 a:latest"]),
        ("FROM later\nFROM a AS later", ["1 later:latest", "2 a:latest"]),
        ("FROM --platform=linux/arm64 a\nFROM --platform=arm b AS c", ["1 a:latest linux/arm64", "2 b:latest linux/arm/v7"]),
        ("FROM scratch\nCOPY --from=a /x /\nCOPY --chown=1 --from=b:1 --link [\"/x\", \"/\"]\nCOPY --from='c' . .", ["2 a:latest", "3 b:1", "4 c:latest"]),
        ("FROM a AS s\nFROM scratch\nCOPY --from=s x x\nCOPY --from=0 x x\nCOPY --from=S x x\nCOPY x --from=no", ["1 a:latest"]),
        ("FROM scratch\nCOPY --from=t x x\nFROM a AS t", ["3 a:latest"]),
        ("FROM scratch\nRUN --mount=type=cache,target=/c --mount=type=bind,from=b,source=/x x --mount=from=no", ["2 b:latest"]),
        ("FROM scratch\nRUN --network=none \\\n  --mount=from=b,target=/b \\\n  x", ["2 b:latest"]),
        ("FROM scratch\nRUN --mount=target=/b,from=s x\nFROM a AS s", ["3 a:latest"]),
        ("FROM scratch\nONBUILD COPY --from=no x x\nRUN echo FROM no\nLABEL a=\"FROM no\"", []),
        ("FROM \\\n  # a comment\n\n  alpine \\\n  AS x\nFROM x", ["1 alpine:latest"]),
        ("FROM a\nRUN x \\\\\nFROM b", ["1 a:latest", "3 b:latest"]),
        ("FROM a\nRUN x \\  \nFROM no", ["1 a:latest"]),
        ("FROM a\nRUN x \\", ["1 a:latest"]),
        ("\\\nFROM a", ["1 a:latest"]),
        ("# escape=`\nFROM a\nRUN x `\nFROM no\nRUN c:\\\nFROM b", ["2 a:latest", "6 b:latest"]),
        ("# syntax=docker/dockerfile:1\n#Escape = ` \nFROM a `\n AS b\nFROM b", ["3 a:latest"]),
        ("# a comment\n# escape=`\nFROM a\nRUN x \\\nFROM no", ["3 a:latest"]),
        ("FROM a\nRUN <<EOF\nFROM no\nEOF\nFROM b", ["1 a:latest", "5 b:latest"]),
        ("FROM a\nRUN cat <<'A' <<-\"B\" | sh\nFROM no\nA\nFROM no\n\tB\nFROM b", ["1 a:latest", "7 b:latest"]),
        ("FROM a\nCOPY <<x /x\nCOPY --from=no\n# x\n\nx\nADD <<y /y\nFROM no\\\ny\nFROM b", ["1 a:latest", "10 b:latest"]),
        ("FROM a\nONBUILD RUN <<E\nFROM no\nE\n", ["1 a:latest"]),
        ("FROM a\nRUN cat <<<x '<<EOF' \"a <<EOF\" a<<EOF\nFROM b", ["1 a:latest", "3 b:latest"]),
        ("FROM a\nLABEL x=<<EOF <<EOF\nFROM b", ["1 a:latest", "3 b:latest"]),
    ],
)  # fmt: skip
def test_instructions_are_seen_as_a_builder_sees_them(text: str, expected: list[str]) -> None:
    """Stages, sources of copies and mounts, continued lines, directives and here-documents."""
    assert seen(text) == expected


@pytest.mark.parametrize(
    ("text", "args", "expected"),
    [
        ("ARG V=3\nFROM alpine:$V", {}, ["2 alpine:3"]),
        ("ARG V=3\nFROM alpine:${V}", {"V": "4"}, ["2 alpine:4"]),
        ("ARG V\nFROM alpine:${V:-5}", {}, ["2 alpine:5"]),
        ("ARG V\nFROM alpine:${V:-5}", {"V": "6"}, ["2 alpine:6"]),
        ("FROM alpine:${V:-5}", {"V": "not declared"}, ["1 alpine:5"]),
        ("ARG R=quay.io V=\"3\"\nARG I=$R/a:${V}\nFROM $I", {}, ["3 quay.io/a:3"]),
        ("FROM a\nARG V=3\nFROM b:${V:-unset}", {}, ["1 a:latest", "3 b:unset"]),
        ("ARG S=x\nFROM a AS x\nFROM $S", {}, ["2 a:latest"]),
        ("ARG P=linux/s390x\nFROM --platform=$P a", {}, ["2 a:latest linux/s390x"]),
        ("ARG V=v1.2.3\nFROM a:${V#v} AS x\nFROM a:${V%.*}", {}, ["2 a:1.2.3", "3 a:v1.2"]),
    ],
)  # fmt: skip
def test_arguments_before_the_first_stage_count(text: str, args: dict[str, str], expected: list[str]) -> None:
    """Defaults, what is given instead, and nothing that a stage declares."""
    assert seen(text, None, args) == expected


def test_the_builders_own_platforms() -> None:
    """A stage for the build machine is for another platform than the image where they differ."""
    text = "FROM --platform=$BUILDPLATFORM a AS b\nFROM --platform=$TARGETPLATFORM c\nFROM d:$TARGETARCH\nFROM --platform=linux/${TARGETARCH} e"
    assert seen(text) == ["1 a:latest", "2 c:latest", f"3 d:{HERE.architecture}", "4 e:latest"]
    assert seen(text, OTHER) == [f"1 a:latest {HERE}", "2 c:latest", "3 d:s390x", "4 e:latest"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "D: has no FROM"),
        ("ARG V=1", "D: has no FROM"),
        ("RUN x\nFROM a", "D: line 1: RUN comes before the first FROM"),
        ("FROM", "D: line 1: FROM is followed by"),
        ("FROM a b", "D: line 1: FROM is followed by"),
        ("FROM a AS", "D: line 1: FROM is followed by"),
        ("ARG V\nFROM $V", "D: line 2: '$V' is empty; give its variable with --build-arg"),
        ("ARG V\nFROM alpine:$V", "D: line 2: invalid reference format: 'alpine:'"),
        ("ARG V\nFROM alpine:${V:?which}", "D: line 2: the variable V is needed and not set: which"),
        ("FROM --platform=/ a", "D: line 1: the platform '/' is not"),
        ("FROM a\nCOPY --from=$X . .", "D: line 2: '$X': only FROM has variables"),
        ("FROM a\nRUN <<EOF\nFROM b", "D: line 2: the here-document does not end with EOF"),
        ("# escape=x\nFROM a", "D: line 1: the escape 'x' is neither"),
        ("FROM 'a", "D: line 1: the quote ' is not closed"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, message: str) -> None:
    """One sentence."""
    with pytest.raises(InvalidSource) as caught:
        seen(text)
    assert message in str(caught.value)


LINES = st.sampled_from([
    "FROM a", "FROM $V AS b", "ARG V=x", "COPY --from=b . .", "RUN <<E", "E", "# escape=`", "RUN x \\", "RUN --mount=from=q,", "",
    "FROM", "\\", "\"", "ARG", "ARG 'x", "RUN --mount=from=\"", "COPY --from", "ONBUILD", "`", "<<", "\t", "${V",
])  # fmt: skip


@given(st.lists(LINES) | st.lists(st.text(max_size=20)))
def test_no_text_is_a_traceback(lines: list[str]) -> None:
    """Images, or InvalidSource."""
    try:
        seen("\n".join(lines))
    except InvalidSource as error:
        assert str(error).startswith("D: ")


def test_a_hostile_file_takes_no_time() -> None:
    """No expression in it is tried again and again."""
    for text in (
        "\\" * 300_000,
        '"' + "\\a" * 300_000,
        "RUN " + "'" * 300_001,
        " " * 300_000 + "x",
        "# a=" + " " * 300_000 + "b",
    ):
        assert seen(f"{text}\nFROM a" if text[0] == "#" else f"FROM a\nRUN {text}") in (
            ["1 a:latest"],
            ["2 a:latest"],
        )
