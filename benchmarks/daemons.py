"""The daemons of docker and containerd, their data on a run's file system, and the commands that talk to them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.network import serving
from benchmarks.place import Command, Place, given_words

CONTAINERD = Path(os.environ.get("BENCH_CONTAINERD", "/usr/bin"))
"""The directory of the containerd that is measured; docker has the system's."""


@contextmanager
def dockerd(place: Place) -> Iterator[None]:
    words = [
        *("dockerd", f"--data-root={place.disk}/docker", f"--exec-root={place.scratch}/docker"),
        *(f"--pidfile={place.scratch}/docker.pid", f"--host=unix://{place.scratch}/docker.sock"),
        *(f"--insecure-registry={place.host_and_name[0]}", "--iptables=false", "--bridge=none"),
        *("--exec-opt=native.cgroupdriver=cgroupfs", f"--cgroup-parent=/{place.cgroup}"),
    ]
    with serving(words, docker("version")(place), place.enter, place.scratch / "dockerd.log"):
        yield


def docker(*words: str) -> Command:
    def command(place: Place) -> list[str]:
        return ["docker", "--host", f"unix://{place.scratch}/docker.sock", *given_words(words, place)]

    return command


@contextmanager
def containerd(place: Place) -> Iterator[None]:
    """Version 2 unpacks as many layers at once as there are cores; version 1 has nothing to set."""
    config = place.scratch / "containerd.toml"
    said = subprocess.check_output([CONTAINERD / "containerd", "--version"], text=True).split()[2]
    newer = not said.removeprefix("v").startswith("1.")
    config.write_text(
        f"version = {3 if newer else 2}\n"
        f'root = "{place.disk}/containerd"\nstate = "{place.scratch}/containerd"\n'
        f'[grpc]\naddress = "{place.scratch}/containerd.sock"\n'
        + (
            "[plugins.'io.containerd.transfer.v1.local']\n"
            f"max_concurrent_unpacks = {os.cpu_count()}\nmax_concurrent_downloads = 3\n"
            if newer
            else ""
        )
    )
    words = [str(CONTAINERD / "containerd"), "--config", str(config)]
    with serving(words, ctr("version")(place), place.enter, place.scratch / "containerd.log"):
        yield


def ctr(*words: str) -> Command:
    def command(place: Place) -> list[str]:
        return [
            str(CONTAINERD / "ctr"),
            "--address",
            f"{place.scratch}/containerd.sock",
            *given_words(words, place),
        ]

    return command
