"""Manifests for whoever fetches images itself: Kubernetes nodes, OpenKruise, containerd.

An image of a node belongs to the node's own runtime, which only itself can fill; so a plan is written
down for it. Images are named by their digests, each once. For a platform, nodes of its architecture
are chosen; an image without one is for all nodes.

A node that has an image by its digest still asks a registry for a tag of it, but fetches no layer again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from aiodocker_lite.platforms import Platform
from aiodocker_lite.reference import DOCKER_HUB, Reference

Pinned = tuple[Reference, str, Platform | None]
"""A name, the digest it had, and the platform it is wanted for, where that is said."""

PAUSE = "registry.k8s.io/pause:3.10"
NO_OP = "docker.io/library/busybox:1.37-musl"
"""With a statically linked /bin/busybox, which is copied to where any image can run it."""
_MOUNT = "/.prefetch"
_CONTAINERS_MAX = 100
"""Of one pod: its status has an entry for each, and all of it must fit one object."""
_KRUISE_MAX = 255
"""Of one ImageListPullJob: its webhook refuses more."""


def daemonset(
    images: Iterable[Pinned], name: str = "prefetch", *, pause: str = PAUSE, no_op: str = NO_OP
) -> str:
    """A DaemonSet with one init container for each image, for `kubectl apply -f -`.

    Many images have no shell and no `true`: the first init container brings a program into a volume that ends
    at once, and that is what all the others run.
    """
    return _documents(
        _daemonset(label, platform, names, pause, no_op)
        for label, platform, names in _jobs(images, name, _CONTAINERS_MAX)
    )


def kruise(
    images: Iterable[Pinned], name: str = "prefetch", *, parallelism: int = 10, timeout: int = 600
) -> str:
    """OpenKruise's ImageListPullJob: so many nodes at a time, so many seconds for an image on a node."""
    return _documents(
        {
            "apiVersion": "apps.kruise.io/v1alpha1",
            "kind": "ImageListPullJob",
            "metadata": {"name": label},
            "spec": {
                "images": names,
                "parallelism": parallelism,
                "pullPolicy": {"timeoutSeconds": timeout, "backoffLimit": 3},
                "completionPolicy": {"type": "Always"},
            }
            | ({"selector": {"matchLabels": _labels(platform)}} if platform else {}),
        }
        for label, platform, names in _jobs(images, name, _KRUISE_MAX)
    )


def containerd_hosts(registries: Iterable[str], mirror: str, *, resolve: bool = False) -> dict[str, str]:
    """For each registry the file below containerd's ``config_path`` that sends it to a mirror first.

    `mirror` is an address such as ``http://10.0.0.1:5000``. What has a digest is checked by it, whoever
    gives it; only with `resolve` is the mirror asked what a tag is, too. containerd, docs/hosts.md.
    """
    capabilities = ["pull", "resolve"] if resolve else ["pull"]
    return {
        f"{registry}/hosts.toml": f"server = {json.dumps(_server(registry))}\n\n"
        f"[host.{json.dumps(mirror)}]\n  capabilities = {json.dumps(capabilities)}\n"
        for registry in sorted(set(registries))
    }


def _jobs(images: Iterable[Pinned], name: str, most: int) -> Iterator[tuple[str, Platform | None, list[str]]]:
    """A label, the platform, and at most so many images, each once."""
    found: dict[Platform | None, dict[str, None]] = {}
    for reference, digest, platform in images:
        found.setdefault(platform, {})[f"{reference.name}@{digest}"] = None
    for platform, unique in found.items():
        names = list(unique)
        suffix = f"-{str(platform).replace('/', '-')}" if platform and len(found) > 1 else ""
        for start in range(0, len(names), most):
            number = f"-{start // most + 1}" if len(names) > most else ""
            yield f"{name}{suffix}{number}", platform, names[start : start + most]


def _daemonset(
    label: str, platform: Platform | None, names: list[str], pause: str, no_op: str
) -> dict[str, object]:
    labels = {"app.kubernetes.io/name": label}
    small = {"requests": {"cpu": "1m", "memory": "8Mi"}}
    bring: dict[str, object] = {
        "name": "no-op",
        "image": no_op,
        "command": ["/bin/cp", "/bin/busybox", f"{_MOUNT}/true"],
        "volumeMounts": [{"name": "no-op", "mountPath": _MOUNT}],
        "resources": small,
    }
    each: list[dict[str, object]] = [
        {
            "name": f"image-{number}",
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "command": [f"{_MOUNT}/true"],
            "workingDir": "/",
            "volumeMounts": [{"name": "no-op", "mountPath": _MOUNT, "readOnly": True}],
            "resources": small,
        }
        for number, image in enumerate(names, 1)
    ]
    pod: dict[str, object] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 0,
        "initContainers": [bring, *each],
        "containers": [{"name": "pause", "image": pause, "resources": small}],
        "volumes": [{"name": "no-op", "emptyDir": {}}],
    }
    if platform:
        pod["nodeSelector"] = _labels(platform)
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": label, "labels": labels},
        "spec": {
            "selector": {"matchLabels": labels},
            # All nodes at once: nobody uses these pods.
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "100%"}},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def _labels(platform: Platform) -> dict[str, str]:
    """What Kubernetes itself writes on each node; it knows no variants."""
    return {"kubernetes.io/os": platform.os, "kubernetes.io/arch": platform.architecture}


def _server(registry: str) -> str:
    if registry == DOCKER_HUB:
        return "https://registry-1.docker.io"
    loopback = registry.startswith(("localhost", "127.", "[::1]"))
    return f"{'http' if loopback else 'https'}://{registry}"


def _documents(documents: Iterable[object]) -> str:
    return "".join(f"---\n{_yaml(one)}\n" for one in documents)


def _yaml(value: object, indent: str = "") -> str:
    """Mappings and lists a line each; a scalar of JSON is one of YAML."""
    if isinstance(value, dict) and value:
        return f"\n{indent}".join(f"{key}:{_inner(item, indent + '  ')}" for key, item in value.items())
    if isinstance(value, list) and value:
        return f"\n{indent}".join(f"- {_yaml(item, indent + '  ')}" for item in value)
    return json.dumps(value)


def _inner(value: object, indent: str) -> str:
    between = f"\n{indent}" if isinstance(value, dict | list) and value else " "
    return between + _yaml(value, indent)
