"""A cold pull of a few large gzip layers from a local registry: ourselves and podman, in turn.

    python -m benchmarks.cold_pull [--runs 5] [--rootfs FILE.tar]...

As root. Each run has a new ext4 on a loop device: creating files where many were just deleted
is up to ten times slower on ext4, for whoever comes second. Needs docker-registry, skopeo,
podman, mmdebstrap and mkfs.ext4.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROGRAM = str(Path(sys.executable).with_name("aiodocker-lite"))
NAME = "bench/large"


@dataclass(frozen=True)
class Measured:
    """One run: seconds of wall and processor time, megabytes of memory of all processes."""

    wall: float
    cpu: float
    memory: float


# --- the image ---------------------------------------------------------------------------------


def make_layers(work: Path) -> list[Path]:
    """Four layers that any Debian machine can make: a minimal system and three trees of packages."""
    layers = []
    for number, packages in enumerate(
        ("", "python3-numpy,python3-pil", "git,perl-doc", "gcc,libc6-dev"),
    ):
        tar = work / f"layer{number}.tar"
        include = [f"--include={packages}"] if packages else []
        subprocess.run(
            ["mmdebstrap", "--quiet", "--variant=minbase", *include, "bookworm", str(tar)], check=True
        )
        layers.append(tar)
    return layers


def make_layout(work: Path, layers: Sequence[Path]) -> Path:
    """An OCI layout of these layers, by umoci: gzip, as `docker push` would have it."""
    layout = work / "layout"
    umoci = ["umoci"]
    subprocess.run([*umoci, "init", "--layout", str(layout)], check=True)
    subprocess.run([*umoci, "new", "--image", f"{layout}:latest"], check=True)
    for layer in layers:
        subprocess.run([*umoci, "raw", "add-layer", "--image", f"{layout}:latest", str(layer)], check=True)
    return layout


# --- the registry ------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def registry(work: Path) -> Iterator[str]:
    """A registry process; yields its address."""
    port = free_port()
    config = work / "registry.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {work}/registry}}}}\n"
        f"http: {{addr: 127.0.0.1:{port}}}\n"
    )
    process = subprocess.Popen(
        ["docker-registry", "serve", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                assert process.poll() is None, "the registry did not start"
        yield f"localhost:{port}"
    finally:
        process.terminate()
        process.wait()


# --- measuring ---------------------------------------------------------------------------------


@contextmanager
def fresh_ext4(work: Path) -> Iterator[Path]:
    """A new file system on a loop device."""
    image, place = work / "disk.img", work / "disk"
    place.mkdir(exist_ok=True)
    with image.open("wb") as file:
        file.truncate(12 << 30)
    subprocess.run(
        ["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", image], check=True
    )
    # Straight to the disk: else what is synced is copied once more, which takes as long as to unpack it.
    words = ["losetup", "--find", "--show", "--direct-io=on", str(image)]
    device = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    subprocess.run(["mount", device, place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)
        subprocess.run(["losetup", "--detach", device], check=True)
        image.unlink()


def tree_memory(root: int) -> float:
    """Proportional memory of a process and all below it, in megabytes."""
    total, pending = 0, [root]
    while pending:
        pid = pending.pop()
        try:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
            for task in Path(f"/proc/{pid}/task").iterdir():
                pending += map(int, (task / "children").read_text().split())
        except OSError:
            continue
    return total / 1000


def measure(command: Sequence[str]) -> Measured:
    """Run a command; its memory is looked at twenty times a second, which costs little."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    peak = 0.0
    ended = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not ended.wait(0.05):
            peak = max(peak, tree_memory(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    _, errors = process.communicate()
    wall = time.perf_counter() - start
    ended.set()
    watcher.join()
    if process.returncode:
        sys.exit(f"{command[0]} failed, so there is nothing to compare:\n{errors}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Measured(wall, cpu, peak)


def commands(place: Path, image: str) -> dict[str, list[str]]:
    podman = [
        "podman",
        "--root",
        f"{place}/podman",
        "--runroot",
        f"{place}/run",
        "--storage-driver",
        "overlay",
    ]
    return {
        "aiodocker-lite": [PROGRAM, "--root", f"{place}/adl", "pull", "--quiet", image],
        "podman": [*podman, "pull", "--quiet", "--tls-verify=false", image],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rootfs", type=Path, action="append", help="a tar to use as a layer")
    parser.add_argument("--tool", action="append", help="only these")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench.", dir=os.environ.get("BENCH_DIR")) as name:
        work = Path(name)
        layout = make_layout(work, arguments.rootfs or make_layers(work))
        results: dict[str, list[Measured]] = {}
        with registry(work) as address:
            image = f"{address}/{NAME}:latest"
            subprocess.run(
                [
                    "skopeo",
                    "copy",
                    "-q",
                    "--dest-tls-verify=false",
                    f"oci:{layout}:latest",
                    f"docker://{image}",
                ],
                check=True,
            )
            shutil.rmtree(layout)
            for _ in range(arguments.runs):
                for tool in commands(work, image):
                    if arguments.tool and tool not in arguments.tool:
                        continue
                    with fresh_ext4(work) as place:
                        measured = measure(commands(place, image)[tool])
                    results.setdefault(tool, []).append(measured)
                    print(json.dumps({"tool": tool, **vars(measured)}), flush=True)
        report(results)


def report(results: dict[str, list[Measured]]) -> None:
    medians = {
        tool: {
            figure: statistics.median(vars(run)[figure] for run in runs)
            for figure in ("wall", "cpu", "memory")
        }
        for tool, runs in results.items()
    }
    ours = medians["aiodocker-lite"]
    print(f"\n{'':16}{'wall s':>8}{'cpu s':>8}{'MB':>6}   ours / theirs: wall, cpu")
    for tool, found in medians.items():
        ratios = f"{ours['wall'] / found['wall']:.2f}, {ours['cpu'] / found['cpu']:.2f}"
        print(f"{tool:16}{found['wall']:8.2f}{found['cpu']:8.2f}{found['memory']:6.0f}   {ratios}")


if __name__ == "__main__":
    main()
