"""A cold pull over a long link: ourselves, curl, podman and docker, in turn, over the same one.

    python -m benchmarks.link [--mbit 1000] [--ms 20] [--loss 0] [--layers 200,50,50] [--runs 3]

As root. Two network namespaces, and between them `relay`; the registry is in one and the tools are in
the other. curl fetches the same blobs to files, all at once, and unpacks nothing. Layers are of
bytes that do not compress, so many megabytes each. Each run has a new ext4. The last column
counts what crossed the link to the client, against the size of the blobs. Needs docker-registry, skopeo,
umoci, curl, iproute2, mkfs.ext4, and podman and docker for their lines.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.cold_pull import PROGRAM, fresh_ext4, make_layout
from benchmarks.relay import SERVER

NAMESPACES = CLIENT_SIDE, SERVER_SIDE = "adl-client", "adl-server"
ADDRESS = f"{SERVER}:5000"
IMAGE = f"{ADDRESS}/bench/link:latest"


def at(namespace: str, *words: str) -> list[str]:
    """A command in a namespace."""
    return ["nsenter", f"--net=/run/netns/{namespace}", *words]


@contextmanager
def link(mbit: float, milliseconds: float, loss: float) -> Iterator[None]:
    """Two namespaces and the link between them."""
    with ExitStack() as closing:
        for namespace in NAMESPACES:
            subprocess.run(["ip", "netns", "add", namespace], check=True)
            closing.callback(subprocess.run, ["ip", "netns", "del", namespace], check=True)
        words = [sys.executable, "-m", "benchmarks.relay", *NAMESPACES, *map(str, (mbit, milliseconds, loss))]
        relay = closing.enter_context(
            subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
        closing.callback(relay.terminate)
        assert relay.stdout is not None
        if relay.stdout.readline() != "ready\n":
            sys.exit("the link did not come up")
        yield


@contextmanager
def registry(work: Path) -> Iterator[None]:
    """A registry process in the server's namespace."""
    config = work / "registry.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {work}/registry}}}}\n"
        "http: {addr: 0.0.0.0:5000}\n"
    )
    words = at(SERVER_SIDE, "nice", "-n", "-15", "docker-registry", "serve", str(config))
    with running(words, at(SERVER_SIDE, "curl", "-sf", "http://127.0.0.1:5000/v2/")):
        yield


@contextmanager
def docker(place: Path, work: Path) -> Iterator[str]:
    """A daemon in the client's namespace with its data in a place; yields its address."""
    address = f"unix://{work}/docker.sock"
    words = at(
        CLIENT_SIDE,
        "dockerd",
        f"--data-root={place}/docker",
        f"--exec-root={work}/docker-run",
        f"--pidfile={work}/docker.pid",
        f"--host={address}",
        f"--insecure-registry={ADDRESS}",
        "--iptables=false",
        "--bridge=none",
    )
    with running(words, ["docker", "--host", address, "version"]):
        yield address


@contextmanager
def running(words: Sequence[str], answers: Sequence[str]) -> Iterator[None]:
    """A server, from when a command that asks it succeeds."""
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            while subprocess.run(answers, capture_output=True, check=False).returncode:
                if process.poll() is not None:
                    sys.exit(f"{' '.join(words)} ended")
                time.sleep(0.05)
            yield
        finally:
            process.terminate()


def make_layer(path: Path, megabytes: int) -> Path:
    """A tar of files of one megabyte that do not compress, in a directory."""
    with tarfile.open(path, "w") as tar:
        directory = tarfile.TarInfo(path.stem)
        directory.type, directory.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(directory)
        for number in range(megabytes):
            file = path.with_name("noise")
            file.write_bytes(os.urandom(1_000_000))
            tar.add(file, f"{path.stem}/{number}")
    return path


def curl(place: Path, digests: Sequence[str]) -> list[str]:
    """Every blob to a file, all at once."""
    words = ["curl", "-sfZ", "--parallel-immediate"]
    for number, digest in enumerate(digests):
        url = f"http://{IMAGE.rpartition(':')[0].replace('/', '/v2/', 1)}/blobs/{digest}"
        words += ["-o", f"{place}/{number}", url]
    return words


def received() -> int:
    """Bytes that have come over the link."""
    words = ["ip", "-netns", CLIENT_SIDE, "-json", "-stats", "link", "show", "wire0"]
    done = subprocess.run(words, capture_output=True, check=True)
    return int(json.loads(done.stdout)[0]["stats64"]["rx"]["bytes"])


def measure(tool: str, place: Path, work: Path, digests: Sequence[str]) -> tuple[float, int]:
    """Seconds of one cold pull, and the bytes that crossed the link."""
    ours = [PROGRAM, "--root", f"{place}/adl", "pull", "--insecure", "--quiet", IMAGE]
    podman = ["podman", "--root", f"{place}/podman", "--runroot", f"{work}/podman-run"]
    with ExitStack() as closing:
        match tool:
            case "curl":
                words = curl(place, digests)
            case "podman":
                words = [*podman, "--storage-driver", "overlay", "pull", "-q", "--tls-verify=false", IMAGE]
            case "docker":
                words = ["docker", "--host", closing.enter_context(docker(place, work)), "pull", "-q", IMAGE]
            case _:
                words = [*ours, *(["--jobs", "1"] if tool.endswith("one stream") else [])]
        before, start = received(), time.perf_counter()
        done = subprocess.run(at(CLIENT_SIDE, *words), capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - start
        if done.returncode:
            sys.exit(f"{tool} failed, so there is nothing to compare:\n{done.stderr}")
        return seconds, received() - before


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mbit", type=float, default=1000)
    parser.add_argument("--ms", type=float, default=20, help="there and back")
    parser.add_argument("--loss", type=float, default=0, help="part of the packets that is lost")
    parser.add_argument("--layers", default="200,50,50", help="megabytes of each")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--tool", action="append", help="only these")
    arguments = parser.parse_args()
    tools = arguments.tool or ["curl", "aiodocker-lite", "aiodocker-lite, one stream", "podman", "docker"]
    results: dict[str, list[tuple[float, int]]] = {tool: [] for tool in tools}
    with tempfile.TemporaryDirectory(prefix="bench.", dir=os.environ.get("BENCH_DIR")) as name:
        work = Path(name)
        sizes = map(int, arguments.layers.split(","))
        tars = [make_layer(work / f"layer{number}.tar", size) for number, size in enumerate(sizes)]
        layout = make_layout(work, tars)
        with link(arguments.mbit, arguments.ms, arguments.loss), registry(work):
            copy = ["skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci:{layout}:latest"]
            target = IMAGE.replace(SERVER, "127.0.0.1")
            subprocess.run(at(SERVER_SIDE, *copy, f"docker://{target}"), check=True)
            inspected = subprocess.run(
                at(SERVER_SIDE, "skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{target}"),
                capture_output=True,
                check=True,
            )
            layers = json.loads(inspected.stdout)["layers"]
            shutil.rmtree(layout)
            for _ in range(arguments.runs):
                for tool in tools:
                    with fresh_ext4(work) as place:
                        results[tool].append(measure(tool, place, work, [each["digest"] for each in layers]))
                    print(json.dumps({"tool": tool, "seconds": results[tool][-1][0]}), flush=True)
    report(results, sum(each["size"] for each in layers))


def report(results: dict[str, list[tuple[float, int]]], size: int) -> None:
    medians = {tool: statistics.median(seconds for seconds, _ in runs) for tool, runs in results.items()}
    reference = medians.get("curl", 0)
    print(f"\n{'':28}{'seconds':>8}{'MB/s':>7}{'/ curl':>8}{'crossed':>9}")
    for tool, seconds in medians.items():
        ratio = f"{seconds / reference:.2f}" if reference else ""
        crossed = statistics.median(count for _, count in results[tool]) / size
        print(f"{tool:28}{seconds:8.2f}{size / seconds / 1e6:7.1f}{ratio:>8}{crossed:9.3f}")


if __name__ == "__main__":
    main()
