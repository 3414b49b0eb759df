"""Compose projects: the specification's rules, and docker-compose beside us."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from aiodocker_lite.errors import InvalidSource
from aiodocker_lite.sources import Choices, read
from aiodocker_lite.sources.projects import merged
from aiodocker_lite.sources.yamls import Tagged

NO_NOTE = "services: {a: {image: a}}"


def put(directory: Path, **files: str) -> Path:
    for name, text in files.items():
        path = directory / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory


def seen(
    path: Path, *profiles: str, notes: list[str] | None = None, environment: dict[str, str] | None = None
) -> list[str]:
    """Each image, with its platform, as `read` gives them."""
    heard: list[str] = [] if notes is None else notes
    choices = Choices(profiles=profiles, environment=environment or {})
    return [
        f"{one.reference.familiar}{f' {one.platform}' if one.platform else ''}"
        for one in read(str(path), "compose", choices, heard.append)
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("services: {}", []),
        ("name: x\nvolumes: {v: }", []),
        ("services: {a: {image: redis}, b: {image: 'quay.io/b:1'}}", ["redis:latest", "quay.io/b:1"]),
        ("services: {a: {image: redis, platform: linux/arm64}, b: {image: redis}}", ["redis:latest linux/arm64", "redis:latest"]),
        ("x-d: &d {image: redis:7, environment: {P: '${SECRET:?}'}}\nservices: {a: {<<: *d}, b: {<<: *d, image: b}}", ["redis:7", "b:latest"]),
        ("services: {a: {build: .}, b: {build: {context: .}, image: b}}", ["b:latest"]),
        ("services: {a: {image: a, pull_policy: never}, b: {image: b, pull_policy: build}, c: {image: c, pull_policy: always}}", ["c:latest"]),
        ("services: {a: {provider: {type: x}}}", []),
        ("services: {a: {image: a, volumes: [x:/x, {type: image, source: data, target: /d}, {type: bind, source: /b, target: /b}]}}", ["a:latest", "data:latest"]),
        ("services: {a: {image: a, pre_start: [{command: x}, {image: init, command: y}]}}", ["a:latest", "init:latest"]),
        ("services: {a: {image: $IMG}, b: {image: 'b:${TAG:-1}', platform: '${PLAT-}'}}", ["from-env:latest", "b:1"]),
        ("services: {a: {image: a}}\n---\nservices: {a: {image: b}, c: {image: c}}", ["b:latest", "c:latest"]),
    ],
)  # fmt: skip
def test_the_images_of_a_file(tmp_path: Path, text: str, expected: list[str]) -> None:
    """Anchors, builds, policies, platforms, image volumes, steps before the start, variables."""
    assert (
        seen(put(tmp_path, **{"compose.yaml": text}) / "compose.yaml", environment={"IMG": "from-env"})
        == expected
    )


SPECIFICATION = """
services:
  foo: {image: foo}
  bar: {image: bar, profiles: [test]}
  baz: {image: baz, depends_on: [bar], profiles: [test]}
  zot: {image: zot, depends_on: {bar: {condition: service_started}}, profiles: [debug]}
"""


@pytest.mark.parametrize(
    ("profiles", "environment", "expected"),
    [
        ((), {}, ["foo:latest"]),
        (("test",), {}, ["foo:latest", "bar:latest", "baz:latest"]),
        ((), {"COMPOSE_PROFILES": "x, test"}, ["foo:latest", "bar:latest", "baz:latest"]),
        (("nothing",), {"COMPOSE_PROFILES": "test"}, ["foo:latest"]),
        (("test", "debug"), {}, ["foo:latest", "bar:latest", "baz:latest", "zot:latest"]),
        (("*",), {}, ["foo:latest", "bar:latest", "baz:latest", "zot:latest"]),
    ],
)
def test_profiles_choose_as_in_the_specifications_example(
    tmp_path: Path, profiles: tuple[str, ...], environment: dict[str, str], expected: list[str]
) -> None:
    """Services without a profile, and those of the given ones."""
    put(tmp_path, **{"compose.yaml": SPECIFICATION})
    assert seen(tmp_path / "compose.yaml", *profiles, environment=environment) == expected


def test_a_dependency_that_no_profile_chooses_is_an_error(tmp_path: Path) -> None:
    """The specification calls such a model invalid; one that is not required may be missing."""
    put(tmp_path, **{"compose.yaml": SPECIFICATION})
    with pytest.raises(
        InvalidSource, match=r"services.zot.depends_on: 'bar' is only there with the profile test"
    ):
        seen(tmp_path, "debug")
    put(
        tmp_path,
        **{"compose.yaml": SPECIFICATION.replace("service_started", "service_started, required: false")},
    )
    assert seen(tmp_path, "debug") == ["foo:latest", "zot:latest"]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"compose.yaml": "services: {a: {image: a}}", "docker-compose.yml": "services: {b: {image: b}}"}, ["a:latest"]),
        ({"docker-compose.yml": "services: {a: {image: a}}", "compose.override.yml": "services: {a: {image: b}, c: {image: c}}"}, ["b:latest", "c:latest"]),
        ({"compose.yml": "services: {a: {image: a, platform: linux/arm64}}", "compose.override.yaml": "services: {a: {image: !reset null, build: .}}"}, []),
        ({"compose.yml": "services: {a: {image: a}, b: {image: b}}", "compose.override.yaml": "services: {a: !reset {}, b: !override {image: c}}"}, ["c:latest"]),
        ({"compose.yml": "services: {a: {image: a, profiles: [x]}}", "compose.override.yaml": "services: {a: {profiles: !reset []}}"}, ["a:latest"]),
        ({"compose.yml": "services: {a: {build: ., image: a}}", "compose.override.yaml": "services: {a: {build: !reset null, provider: null}}"}, ["a:latest"]),
        ({"compose.yml": "services: {a: {image: a}}", "compose.override.yaml": "services: !override {b: {image: b}}"}, ["b:latest"]),
        ({"compose.yml": "services: {a: {image: a, volumes: [{type: image, source: v1, target: /d}]}}", "compose.override.yaml": "services: {a: {volumes: [{type: image, source: v2, target: /d}]}}"}, ["a:latest", "v2:latest"]),
        ({"compose.yml": "services: {a: {image: 'a:$V', depends_on: [b]}, b: {image: '${W:-w}'}}", ".env": "V=1\nW=$V$V"}, ["a:1", "11:latest"]),
        ({"compose.yml": "services: {a: {image: 'a:$SET'}}", ".env": "SET=no"}, ["a:outside"]),
        ({"compose.yml": "services: {a: {image: a, profiles: [x]}}", ".env": "COMPOSE_PROFILES=x"}, ["a:latest"]),
    ],
)  # fmt: skip
def test_a_directory_is_a_project_as_compose_finds_it(
    tmp_path: Path, files: dict[str, str], expected: list[str]
) -> None:
    """The first of the names and the first override, merged; variables of .env, and of the environment before it."""
    assert seen(put(tmp_path, **files), environment={"SET": "outside"}) == expected


def test_a_file_that_is_named_is_that_file_only(tmp_path: Path) -> None:
    """As with `docker compose -f`; a note says that there is an override."""
    put(
        tmp_path,
        **{"compose.yaml": "services: {a: {image: a}}", "compose.override.yaml": "services: {a: {image: b}}"},
    )
    notes: list[str] = []
    assert seen(tmp_path / "compose.yaml", notes=notes) == ["a:latest"]
    assert notes == [f"{tmp_path}/compose.override.yaml is not read; name the directory to have both"]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"compose.yml": "services: {a: {image: a, platform: linux/arm64}, b: {extends: a, image: b}, c: {extends: {service: b}}}"},
         ["a:latest linux/arm64", "b:latest linux/arm64"]),
        ({"compose.yml": "services: {a: {extends: {file: x/base.yml, service: b}}}", "x/base.yml": "services: {b: {extends: {file: more.yml, service: c}}}",
          "x/more.yml": "services: {c: {image: 'c:$V'}, unused: {image: no}}", ".env": "V=2"}, ["c:2"]),
        ({"compose.yml": "include: [x/compose.yaml]\nservices: {a: {image: 'a:$V', depends_on: [b]}}", "x/compose.yaml": "include: [y.yaml]\nservices: {b: {image: 'b:$V-$W'}}",
          "x/y.yaml": "services: {c: {image: c}}", ".env": "V=outer", "x/.env": "V=inner\nW=w"}, ["c:latest", "b:outer-w", "a:outer"]),
        ({"compose.yml": "include:\n- path: [x/a.yaml, x/b.yaml]\n  env_file: my.env\n  project_directory: z", "x/a.yaml": "services: {a: {image: a}}",
          "x/b.yaml": "services: {a: {image: 'b:$V'}}", "my.env": "V=mine", "z/.env": "V=no"}, ["b:mine"]),
        ({"compose.yml": "include: ['${DIR:-x}/a.yaml']\nservices: {a: {image: own}}", "x/a.yaml": "services: {a: {image: a, platform: linux/arm64}}"}, ["own:latest linux/arm64"]),
        ({"compose.yml": "include: [x.yaml]\nservices: {a: {extends: b}}", "x.yaml": "services: {b: {image: b}}"}, ["b:latest"]),
    ],
)  # fmt: skip
def test_other_files_are_taken_in(tmp_path: Path, files: dict[str, str], expected: list[str]) -> None:
    """By extends and by include, each with its own directory and its own variables below the project's."""
    assert seen(put(tmp_path, **files)) == expected


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"compose.yml": "services: {a: {image: 'A b'}}"}, "/compose.yml: services.a.image: invalid reference format"),
        ({"compose.yml": "services: {a: {image: 'a:$TAG'}}"}, "compose.yml: services.a.image: invalid reference format: 'a:': .*; not set: TAG"),
        ({"compose.yml": "services: {a: {image: 'a:${TAG:?which one}'}}"}, "services.a.image: the variable TAG is needed and not set: which one"),
        ({"compose.yml": "services: {a: {image: [a]}}"}, "services.a.image: is no text"),
        ({"compose.yml": "services: {a: {image: a, platform: {}}}"}, "services.a.image: is no text"),
        ({"compose.yml": "services: {a: {image: a, platform: a b}}"}, "services.a.image: the platform"),
        ({"compose.yml": "services: {a: {image: a, profiles: x}}"}, "services.a.profiles: is no list"),
        ({"compose.yml": "services: {a: {image: a, depends_on: [b]}}"}, "services.a.depends_on: there is no service 'b'"),
        ({"compose.yml": "services: {a: {command: x}}"}, "services.a: has neither an image nor a build"),
        ({"compose.yml": "services: {a: text}"}, "services.a: is no mapping"),
        ({"compose.yml": "services: [a]"}, "services: is no mapping of services"),
        ({"compose.yml": "- a"}, "compose.yml: is no Compose file"),
        ({"compose.yml": "services: {a: {image: a}, a: {image: b}}"}, "line 1: the key 'a' is there twice"),
        ({"compose.yml": "services: {a: {extends: a}}"}, "services.a.extends: extends itself"),
        ({"compose.yml": "services: {a: {extends: b}}"}, "there is no service 'b' in"),
        ({"compose.yml": "services: {a: {extends: {file: b.yml, service: c}}}"}, "b.yml: No such file"),
        ({"compose.yml": "services: {a: {extends: {file: b.yml, service: c}}}", "b.yml": "services: {c: {extends: {file: compose.yml, service: a}}}"}, "extends itself"),
        ({"compose.yml": "include: [compose.yml]"}, "includes itself"),
        ({"compose.yml": "include: [a.yml]", "a.yml": "include: [compose.yml]"}, "includes itself"),
        ({"compose.yml": "include: ['oci://example.org/x']"}, "is no local file"),
        ({"compose.yml": "include: ['https://github.com/a/b.git']"}, "is no local file"),
        ({"compose.yml": "include: [{}]"}, "has no path"),
        ({"compose.yml": NO_NOTE, ".env": "!"}, ".env: line 1: is not NAME=VALUE"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, files: dict[str, str], message: str) -> None:
    """The file, the service, the key, and in a sentence what to do about it."""
    with pytest.raises(InvalidSource, match=message):
        seen(put(tmp_path, **files))


def test_what_is_left_out_is_noted(tmp_path: Path) -> None:
    """Builds, policies and variables without a value."""
    put(
        tmp_path,
        **{
            "compose.yml": "services: {a: {build: .}, b: {image: b, pull_policy: never}, c: {image: 'c${X}'}, d: {image: d, build: .}}"
        },
    )
    notes: list[str] = []
    file = tmp_path / "compose.yml"
    assert seen(file, notes=notes) == ["c:latest", "d:latest"]
    assert notes == [
        f"{file}: the variable X is not set, and counts as empty",
        f"{file}: services.a is built, and names no image",
        f"{file}: services.b is never pulled (pull_policy), and left out",
    ]
    names = [str(one.reference) for one in read(str(file), choices=Choices(buildable=False, environment={}))]
    assert names == ["docker.io/library/c:latest"]


def test_an_environment_file_of_ones_own_is_instead_of_the_usual_one(tmp_path: Path) -> None:
    """As --env-file; the later one counts."""
    put(
        tmp_path,
        **{
            "compose.yml": "services: {a: {image: '$A-$B-$C'}}",
            ".env": "C=usual",
            "1.env": "A=1\nB=1",
            "2.env": "B=2",
        },
    )
    files = (str(tmp_path / "1.env"), str(tmp_path / "2.env"))
    found = read(str(tmp_path), choices=Choices(env_files=files, environment={"C": "c"}))
    assert [one.reference.familiar for one in found] == ["1-2-c:latest"]
    with pytest.raises(InvalidSource, match=r"no.env: No such file"):
        read(str(tmp_path), choices=Choices(env_files=("no.env",)))


def test_hostile_files_end_soon(tmp_path: Path) -> None:
    """Very long chains of extends, and files that include very many others."""
    chain = "".join(f"  s{n}: {{extends: s{n + 1}}}\n" for n in range(5000))
    with pytest.raises(InvalidSource, match="extends itself, or too many others"):
        seen(put(tmp_path, **{"compose.yml": f"services:\n{chain}  s5000: {{image: a}}\n"}))
    for n in range(20):
        put(tmp_path, **{f"{n}.yml": f"include: [{n + 1}.yml, ./{n + 1}.yml]", "20.yml": NO_NOTE})
    with pytest.raises(InvalidSource, match="more than 500 files"):
        seen(tmp_path / "0.yml")


PARTS = st.recursive(
    st.sampled_from(["a", "b:1", "$A", "${A:-x}", "x:/y", "", None, "never", "compose.yml"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["image", "build", "profiles", "depends_on", "extends", "service", "file", "volumes", "type", "a", "<<"]),
        inner, max_size=4,
    ),
    max_leaves=20,
)  # fmt: skip


@given(
    st.dictionaries(
        st.sampled_from(["services", "include", "x-a"]), st.dictionaries(st.sampled_from("ab"), PARTS) | PARTS
    )
)
def test_no_project_is_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, value: dict[str, object]
) -> None:
    """Images, or InvalidSource."""
    directory = put(tmp_path_factory.mktemp("p"), **{"compose.yml": yaml.safe_dump(value)})
    try:
        seen(directory, "*")
    except InvalidSource as error:
        assert "\n" not in str(error)


PLAIN = st.recursive(
    st.text(max_size=2), lambda inner: st.lists(inner, min_size=1, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, min_size=1, max_size=3)
)  # fmt: skip


@given(PLAIN, PLAIN)
def test_merging_keeps_and_replaces(base: object, over: object) -> None:
    """Over nothing a value is itself, nothing over it changes nothing, and !override is the later one alone."""
    assert merged(None, over) == over
    assert merged(base, None) == base
    assert merged(base, Tagged("!override", over)) == over
    assert merged({"k": base}, {"k": Tagged("!reset", over)}) == {}


ORACLE = {
    "anchors": {"docker-compose.yml": "version: '3.9'\nx-d: &d {image: 'redis:${R:-7}', platform: linux/arm64}\nservices: {a: {<<: *d}, b: {<<: *d, image: b}}"},
    "variables": {
        "docker-compose.yml": "version: '3.9'\nservices: {a: {image: 'a:$A'}, b: {image: 'b:${B:-d}'}, c: {image: 'c:${EMPTY-x}1'}, d: {image: 'd:${EMPTY:-x}'}, e: {image: '${A:?no}e'}, f: {image: 'f:${N-2}'}}",
        ".env": "# c\nA=1\nexport B='two'\nEMPTY=\n",
    },
    "extends": {
        "docker-compose.yml": "version: '3.9'\nservices: {a: {extends: {file: sub/base.yml, service: b}, platform: linux/s390x}, c: {extends: a}, d: {extends: {service: c}, image: d}}",
        "sub/base.yml": "version: '3.9'\nservices: {b: {extends: {file: more.yml, service: m}}}",
        "sub/more.yml": "version: '3.9'\nservices: {m: {image: m:1}}",
    },
    "override": {
        "docker-compose.yml": "version: '3.9'\nservices: {a: {image: a}, b: {image: b, platform: linux/arm64}}",
        "docker-compose.override.yml": "version: '3.9'\nservices: {b: {image: b:2}, c: {image: c}}",
    },
    "profiles": {"docker-compose.yml": "version: '3.9'\nservices: {a: {image: a, profiles: [x]}, b: {image: b, depends_on: [c]}, c: {image: c}}"},
}  # fmt: skip


@pytest.mark.skipif(not shutil.which("docker-compose"), reason="needs docker-compose")
@pytest.mark.parametrize("name", ORACLE)
def test_docker_compose_sees_the_same_services(tmp_path: Path, name: str) -> None:
    """`docker-compose config` of the same directory has the same images for the same platforms."""
    put(tmp_path, **ORACLE[name])
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    config = subprocess.run(
        ["docker-compose", "--profile", "x", "config"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        check=True,
    )
    theirs = {
        (service["image"], service.get("platform"))
        for service in yaml.safe_load(config.stdout)["services"].values()
    }
    ours = read(str(tmp_path), choices=Choices(profiles=("x",), environment={}))
    assert {
        (one.reference.familiar.removesuffix(":latest"), str(one.platform) if one.platform else None)
        for one in ours
    } == theirs
