"""Manifests for other engines: valid, pinned, each image once, on nodes it can run on."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from aiodocker_lite import emit
from aiodocker_lite.emit import Pinned, containerd_hosts, daemonset, kruise
from aiodocker_lite.platforms import Platform
from aiodocker_lite.reference import Reference
from aiodocker_lite.sources import kubernetes

ARM = Platform("linux", "arm64")
AMD = Platform("linux", "amd64")
DIGEST = f"sha256:{'a' * 64}"
OTHER = f"sha256:{'b' * 64}"


def pinned(name: str, digest: str = DIGEST, platform: Platform | None = None) -> Pinned:
    return Reference.parse(name), digest, platform


def documents(text: str) -> list[Any]:
    return list(yaml.safe_load_all(text))


IMAGES = [pinned("alpine"), pinned("alpine:3"), pinned("quay.io/a/b:1", OTHER)]
NAMES = [f"docker.io/library/alpine@{DIGEST}", f"quay.io/a/b@{OTHER}"]


def test_a_daemonset_has_an_init_container_for_each_image() -> None:
    """By digest, each once; all of them run the program that the first has put into a volume."""
    (found,) = documents(daemonset(IMAGES))
    assert (found["apiVersion"], found["kind"], found["metadata"]["name"]) == (
        "apps/v1",
        "DaemonSet",
        "prefetch",
    )
    labels = found["spec"]["selector"]["matchLabels"]
    template = found["spec"]["template"]
    assert labels.items() <= template["metadata"]["labels"].items()
    pod = template["spec"]
    first, *others = pod["initContainers"]
    assert [one["image"] for one in others] == NAMES
    assert [one["image"] for one in pod["containers"]] == [emit.PAUSE]
    (volume,) = pod["volumes"]
    (mount,) = first["volumeMounts"]
    assert volume == {"name": mount["name"], "emptyDir": {}}
    assert first["command"][-1] == f"{mount['mountPath']}/true"
    for one in others:
        assert one["command"] == [first["command"][-1]]
        assert one["volumeMounts"] == [mount | {"readOnly": True}]
        assert one["imagePullPolicy"] == "IfNotPresent"
    assert "nodeSelector" not in pod
    names = [one["name"] for one in (*pod["initContainers"], *pod["containers"])]
    assert len(set(names)) == len(names)


def test_kruise_gets_a_list() -> None:
    """With the fields of its ImageListPullJob."""
    (found,) = documents(kruise(IMAGES, "mine", parallelism=3, timeout=60))
    assert found == {
        "apiVersion": "apps.kruise.io/v1alpha1",
        "kind": "ImageListPullJob",
        "metadata": {"name": "mine"},
        "spec": {
            "images": NAMES,
            "parallelism": 3,
            "pullPolicy": {"timeoutSeconds": 60, "backoffLimit": 3},
            "completionPolicy": {"type": "Always"},
        },
    }


def test_a_platform_chooses_its_nodes() -> None:
    """One job for each, by the labels that Kubernetes writes on nodes."""
    images = [pinned("alpine", DIGEST, ARM), pinned("alpine", OTHER, AMD)]
    labels = [{"kubernetes.io/os": "linux", "kubernetes.io/arch": arch} for arch in ("arm64", "amd64")]
    sets = documents(daemonset(images))
    assert [one["spec"]["template"]["spec"]["nodeSelector"] for one in sets] == labels
    assert [one["metadata"]["name"] for one in sets] == ["prefetch-linux-arm64", "prefetch-linux-amd64"]
    assert [one["spec"]["selector"] for one in documents(kruise(images))] == [
        {"matchLabels": one} for one in labels
    ]


@pytest.mark.parametrize(
    ("write", "most", "field"),
    [(daemonset, 100, ("template", "spec", "initContainers")), (kruise, 255, ("images",))],
)
def test_very_many_images_are_several_jobs(write: Any, most: int, field: tuple[str, ...]) -> None:
    """Each within what its receiver takes, with a name of its own; no image is lost."""
    images = [pinned(f"quay.io/a/b{number}") for number in range(600)]
    found = documents(write(images))
    assert [one["metadata"]["name"] for one in found] == [
        f"prefetch-{n}" for n in range(1, -(-600 // most) + 1)
    ]
    names: list[str] = []
    for one in found:
        value = one["spec"]
        for key in field:
            value = value[key]
        mine = [
            item if isinstance(item, str) else item["image"]
            for item in value
            if item != value[0] or isinstance(item, str)
        ]
        assert len(mine) <= most
        names += mine
    assert names == [f"quay.io/a/b{number}@{DIGEST}" for number in range(600)]


def test_what_we_write_we_read() -> None:
    """A DaemonSet is a source like any other, and is one way to look at what it brings."""
    text = daemonset(IMAGES)
    found = [one.reference for one in kubernetes.images(kubernetes.objects(text, "x"), "x")]
    assert [str(one) for one in found] == [emit.NO_OP, *NAMES, emit.PAUSE]


def test_nothing_is_nothing() -> None:
    """No images, no documents."""
    assert (daemonset([]), kruise([]), containerd_hosts([], "http://m")) == ("", "", {})


def test_containerd_is_sent_to_the_mirror_first() -> None:
    """And to the registry itself where the mirror has nothing; docker.io's address is another than its name."""
    found = containerd_hosts(["quay.io", "docker.io", "localhost:5000", "quay.io"], "http://10.0.0.1:5000")
    assert list(found) == ["docker.io/hosts.toml", "localhost:5000/hosts.toml", "quay.io/hosts.toml"]
    assert [tomllib.loads(text) for text in found.values()] == [
        {"server": server, "host": {"http://10.0.0.1:5000": {"capabilities": ["pull"]}}}
        for server in ("https://registry-1.docker.io", "http://localhost:5000", "https://quay.io")
    ]
    (text,) = containerd_hosts(["quay.io"], "https://m", resolve=True).values()
    assert tomllib.loads(text)["host"] == {"https://m": {"capabilities": ["pull", "resolve"]}}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="ascii")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.from_regex(r"[a-z]{2,9}X", fullmatch=True), inner, max_size=3)
    ),
)


@given(VALUES)
def test_yaml_is_read_as_it_was_meant(value: object) -> None:
    """Whatever nesting, whatever text."""
    assert yaml.safe_load(emit._yaml(value)) == value
