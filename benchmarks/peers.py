"""The tools that are compared: how each is started, told to pull and run, and where its trees are."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.daemons import CONTAINERD, containerd, ctr, docker, dockerd
from benchmarks.images import Image
from benchmarks.network import TLS_PORT
from benchmarks.place import Command, Place, given_words

_CHARLIECLOUD = (
    *("env", "-u", "REQUESTS_CA_BUNDLE", "-u", "CURL_CA_BUNDLE"),
    *("PATH=/usr/sbin:/usr/bin:/sbin:/bin", "USER=root"),
)
"""Debian's, with Debian's Python, a variable that it needs, and without two that make it verify all the same."""
OURS = "aiodocker-lite"
PROGRAM = str(Path(sys.executable).with_name(OURS))


@dataclass(frozen=True)
class Peer:
    """`trees` are patterns of directories below the disk; `merged` where layers are one tree, to
    which it `adds` so many entries of its own at most.

    None for what it cannot do. `again` is the whole command that finds an image up to date, `many` brings all of several, `live` a
    process that says how long each of many runs in it took.
    """

    name: str
    programs: tuple[str, ...]
    version: tuple[str, ...]
    pull: Command | None = None
    again: Command | None = None
    many: Command | None = None
    run: Command | None = None
    live: Command | None = None
    trees: tuple[str, ...] = ()
    merged: bool = False
    adds: int = 0
    daemon: Callable[[Place], AbstractContextManager[None]] | None = None
    only: Callable[[Image], bool] = lambda image: True
    by_default: bool = True

    def missing(self) -> str | None:
        """The first program that is not installed."""
        return next((each for each in self.programs if shutil.which(each) is None), None)

    def found_version(self) -> str:
        done = subprocess.run(self.version, capture_output=True, text=True, check=False)
        text = done.stdout or done.stderr
        found = re.search(r"\d+(\.\d+)+\S*", text)
        return found[0].strip(",'\"") if found else text.strip()[:60]


def _shell(script: str) -> list[str]:
    return ["bash", "-euo", "pipefail", "-c", script]


def _each(pull: Command, at_once: int) -> Command:
    """This for one image after the other, so many at once."""

    def command(place: Place) -> list[str]:
        *words, _ = pull(place)
        names = shlex.join(place.references)
        return _shell(f"printf '%s\\n' {names} | xargs -P{at_once} -n1 {shlex.join(words)}")

    return command


# --- ourselves ---------------------------------------------------------------------------------


def _ours(*words: str) -> Command:
    def command(place: Place) -> list[str]:
        return [PROGRAM, "--root", f"{place.disk}/adl", *given_words(words, place)]

    return command


def _unsynced(place: Place) -> list[str]:
    return ["env", "LD_PRELOAD=libeatmydata.so", *_OUR_PULL(place)]


def _traced(place: Place) -> list[str]:
    return [*_OUR_PULL(place), "--trace", str(place.trace)]


def _live(place: Place) -> list[str]:
    return [sys.executable, "-m", "benchmarks.live", f"{place.disk}/adl", place.reference]


_OUR_PULL = _ours("pull", "--insecure", "--quiet", "IMAGE")


# --- without one -------------------------------------------------------------------------------


def _podman(*words: str) -> Command:
    def command(place: Place) -> list[str]:
        roots = ["--root", f"{place.disk}/podman", "--runroot", f"{place.scratch}/podman"]
        return [
            "podman",
            *roots,
            "--storage-driver=overlay",
            "--cgroup-manager=cgroupfs",
            *given_words(words, place),
        ]

    return command


def _podman_run(place: Place) -> list[str]:
    """Limits that we may set also where root has not all capabilities; crun does not know hybrid hierarchies."""
    limits = ["--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"]
    runtime = ["--runtime=runc"] if Path("/sys/fs/cgroup/unified").exists() else []
    parent = f"--cgroup-parent=/{place.cgroup}"
    words = _podman(*runtime, "run", "--rm", "--network=host", parent, *limits, "IMAGE", "true")
    return words(place)


def _umoci(place: Place) -> list[str]:
    copied = f"skopeo copy -q --src-tls-verify=false docker://{place.reference} oci:{place.disk}/oci:x"
    return _shell(f"{copied}; umoci unpack --image {place.disk}/oci:x {place.disk}/bundle")


def _skopeo(place: Place) -> list[str]:
    return ["skopeo", "inspect", "--tls-verify=false", f"docker://{place.reference}"]


def _crane(place: Place) -> list[str]:
    directory = f"{place.disk}/crane"
    return _shell(
        f"mkdir {directory}; crane export --insecure {place.reference} - | tar -x -p -f - -C {directory}"
    )


def _udocker(place: Place) -> list[str]:
    """It cannot read `localhost:5000/…`, and unpacks when a container is made."""
    host, name = place.host_and_name
    scheme = "http" if place.is_plain else "https"
    udocker = f"UDOCKER_DIR={place.disk}/udocker udocker --allow-root"
    return _shell(f"{udocker} pull --registry={scheme}://{host} {name}; {udocker} create {name}")


def _charliecloud(place: Place) -> list[str]:
    """It speaks nothing but https."""
    host, name = place.host_and_name
    host = host.replace(":5000", f":{TLS_PORT}")
    words = [
        "ch-image",
        "--storage",
        f"{place.disk}/ch",
        "--tls-no-verify",
        "--no-cache",
        "pull",
        f"{host}/{name}",
    ]
    return [*_CHARLIECLOUD, *words]


def _urls(place: Place) -> list[str]:
    host, name = place.host_and_name
    name = name.partition("@")[0].rpartition(":")[0]
    return [f"http://{host}/v2/{name}/blobs/{digest}" for digest in place.image.blobs]


def _igzip(place: Place) -> list[str]:
    url, directory = _urls(place)[0], f"{place.disk}/tar"
    return _shell(f"mkdir {directory}; curl -sfL {url} | igzip -dc | tar -x -p -f - -C {directory}")


def _curl(place: Place) -> list[str]:
    """Every blob to a file, all at once; nothing is unpacked."""
    words = ["curl", "-sfZL", "--parallel-immediate"]
    for number, url in enumerate(_urls(place)):
        words += ["-o", f"{place.disk}/{number}", url]
    return words


PEERS = (
    Peer(
        OURS,
        (PROGRAM,),
        (PROGRAM, "--version"),
        pull=_OUR_PULL,
        again=_OUR_PULL,
        many=_ours("prefetch", "--insecure", "--quiet", "IMAGES"),
        run=_ours("run", "--rm", "IMAGE", "true"),
        live=_live,
        trees=("adl/layers/sha256/*/fs",),
    ),
    Peer(
        "aiodocker-lite-one-stream",
        (PROGRAM,),
        (PROGRAM, "--version"),
        pull=_ours("pull", "--insecure", "--quiet", "--jobs", "1", "IMAGE"),
        trees=("adl/layers/sha256/*/fs",),
        by_default=False,
    ),
    Peer(
        "aiodocker-lite-unsynced",
        (PROGRAM, "eatmydata"),
        (PROGRAM, "--version"),
        pull=_unsynced,
        trees=("adl/layers/sha256/*/fs",),
        by_default=False,
    ),
    Peer(
        "aiodocker-lite-traced",
        (PROGRAM,),
        (PROGRAM, "--version"),
        pull=_traced,
        trees=("adl/layers/sha256/*/fs",),
        by_default=False,
    ),
    Peer(
        "docker",
        ("docker", "dockerd", "containerd", "runc"),
        ("dockerd", "--version"),
        pull=docker("pull", "--quiet", "IMAGE"),
        again=docker("pull", "--quiet", "IMAGE"),
        many=_each(docker("pull", "--quiet", "IMAGE"), 4),
        run=docker("run", "--rm", "--network", "host", "IMAGE", "true"),
        trees=("docker/overlay2/*/diff",),
        daemon=dockerd,
    ),
    Peer(
        "podman",
        ("podman",),
        ("podman", "--version"),
        pull=_podman("pull", "--quiet", "--tls-verify=false", "IMAGE"),
        again=_podman("pull", "--quiet", "--tls-verify=false", "IMAGE"),
        many=_each(_podman("pull", "--quiet", "--tls-verify=false", "IMAGE"), 1),
        run=_podman_run,
        trees=("podman/overlay/*/diff",),
    ),
    Peer(
        "podman-four-at-once",
        ("podman",),
        ("podman", "--version"),
        many=_each(_podman("pull", "--quiet", "--tls-verify=false", "IMAGE"), 4),
        trees=("podman/overlay/*/diff",),
        by_default=False,
    ),
    Peer(
        "containerd",
        (str(CONTAINERD / "containerd"), str(CONTAINERD / "ctr")),
        (str(CONTAINERD / "containerd"), "--version"),
        pull=ctr("images", "pull", "--plain-http", "IMAGE"),
        again=ctr("images", "pull", "--plain-http", "IMAGE"),
        trees=("containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/*/fs",),
        daemon=containerd,
    ),
    Peer(
        "skopeo+umoci",
        ("skopeo", "umoci"),
        ("umoci", "--version"),
        pull=_umoci,
        trees=("bundle/rootfs",),
        merged=True,
    ),
    Peer("skopeo-inspect", ("skopeo",), ("skopeo", "--version"), again=_skopeo),
    Peer("crane", ("crane",), ("crane", "version"), pull=_crane, trees=("crane",), merged=True),
    Peer(
        "udocker",
        ("udocker", "curl"),
        ("udocker", "--allow-root", "version"),
        pull=_udocker,
        trees=("udocker/containers/*/ROOT",),
        merged=True,
    ),
    Peer(
        "charliecloud",
        ("ch-image",),
        (*_CHARLIECLOUD, "ch-image", "--version"),
        pull=_charliecloud,
        trees=("ch/img/*",),
        merged=True,
        adds=40,
    ),
    Peer(
        "igzip+tar",
        ("igzip", "curl", "tar"),
        ("igzip", "--version"),
        pull=_igzip,
        trees=("tar",),
        merged=True,
        only=lambda image: image.compression == "gzip" and len(image.blobs) == 1,
    ),
    Peer(
        "curl-download-only",
        ("curl",),
        ("curl", "--version"),
        pull=_curl,
        only=lambda image: bool(image.blobs),
        by_default=False,
    ),
)
