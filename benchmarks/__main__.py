"""Measurements, side by side with every other tool that is installed.

python -m benchmarks run --json FILE    measure, as root; --help lists what can be chosen
python -m benchmarks table FILE...      medians and ratios in Markdown, of such files
python -m benchmarks plot FILE...       FILE.svg for each of them
python -m benchmarks confinement        what walls and limits around unpacking cost
"""

from __future__ import annotations

import argparse
import compileall
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import FrameType

import aiodocker_lite
from benchmarks import confinement, filesystem, plot, report
from benchmarks.images import RECIPES, Image, ensure
from benchmarks.machine import facts
from benchmarks.measure import Bench, Run, Scenario
from benchmarks.network import Link, Network, enter, network, registry
from benchmarks.peers import OURS, PEERS, Peer

_KINDS = {"up-to-date": "again", "run": "run", "live": "live"}
"""What is done with the tiny image; all other names are of images, for cold pulls."""
_DEFAULT = "large,large-zstd,small,many,one,tiny,up-to-date,run,live"
_NEEDED = (
    *("curl", "docker-registry", "gzip", "ip", "losetup", "mkfs.ext4", "mmdebstrap", "mount", "openssl"),
    *("skopeo", "sync", "zstd"),
)


def main() -> None:
    if sys.argv[1:2] == ["confinement"]:
        confinement.main(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _run_arguments(commands.add_parser("run", help="measure"))
    for name, does in (("table", _table), ("plot", _plot)):
        command = commands.add_parser(name, help=does.__doc__)
        command.add_argument("files", type=Path, nargs="+", metavar="FILE")
        command.set_defaults(does=does)
    arguments = parser.parse_args()
    try:
        arguments.does(arguments)
    except (ValueError, KeyError, TypeError) as error:
        if "files" not in arguments:
            raise
        sys.exit(f"this is no file of results: {type(error).__name__}: {error}")


def _run_arguments(parser: argparse.ArgumentParser) -> None:
    peers = ", ".join(peer.name for peer in PEERS)
    images = ", ".join([*RECIPES, *_KINDS])
    add = parser.add_argument
    add("--images", default=_DEFAULT, help=f"of {images}; 100mb and 5gb show memory (default: {_DEFAULT})")
    add("--image", action="append", default=[], metavar="NAME", help="a cold pull of NAME at --registry")
    add("--registry", metavar="HOST", help="where --image is; without shaping, and not made by us")
    add("--peers", help=f"of {peers}; aiodocker-lite is always there (default: all but variants and curl)")
    add("--runs", type=int, default=5)
    add("--link", type=_parse_link, metavar="RATE,DELAY", help="as 1gbit,20ms or 100mbit,5ms,1%%")
    add("--json", type=Path, metavar="FILE", help="write every run there, after each")
    add("--rootfs", type=Path, action="append", help="a tar as a layer of the large images, not mmdebstrap's")
    add(
        "--work",
        type=Path,
        default=Path("/var/tmp/aiodocker-lite-benchmarks"),
        help="what is kept for next time",
    )
    parser.set_defaults(does=_run)


def _parse_link(text: str) -> Link:
    try:
        return Link.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


# --- run ---------------------------------------------------------------------------------------


def _run(arguments: argparse.Namespace) -> None:
    """Measure, and print the table."""
    if os.geteuid() != 0:
        sys.exit("this needs root: for file systems, control groups, network namespaces and daemons")
    if missing := [name for name in _NEEDED if shutil.which(name) is None]:
        sys.exit(f"these programs are missing: {', '.join(missing)}")
    if bool(arguments.registry) != bool(arguments.image):
        sys.exit("--image and --registry come together")
    if arguments.registry and arguments.link:
        sys.exit("--link shapes only the way to our own registry: leave out --registry")
    signal.signal(signal.SIGTERM, _interrupted)
    filesystem.step_apart()
    wanted = _wanted_peers(arguments.peers)
    arguments.work.mkdir(parents=True, exist_ok=True)
    _lock(arguments.work)
    # As pip leaves an installed package: else each command of a checkout may compile it once more.
    compileall.compile_dir(Path(aiodocker_lite.__file__).parent, quiet=2)
    if arguments.rootfs:
        _use_rootfs(arguments.work, arguments.rootfs)
    with ExitStack() as closing:
        place = Network(None, None, arguments.registry)
        if not arguments.registry:
            place = closing.enter_context(network(arguments.link))
            closing.enter_context(registry(arguments.work, place.server))
        scenarios = _scenarios(arguments, place)
        present = [peer for peer in wanted if peer.missing() is None]
        runs: list[dict[str, object]] = []
        result = {
            "machine": facts(),
            "peers": {peer.name: None if peer.missing() else peer.found_version() for peer in wanted},
            "link": arguments.link and asdict(arguments.link),
            "images": {scenario.image.name: asdict(scenario.image) for scenario in scenarios},
            "scenarios": {
                scenario.name: {"what": scenario.what, "image": scenario.image.name} for scenario in scenarios
            },
            "runs": runs,
        }
        for run in Bench(arguments.work, place).run_all(scenarios, present, arguments.runs):
            runs.append(asdict(run))
            _say(run)
            if arguments.json:
                part = arguments.json.with_suffix(".part")
                part.write_text(json.dumps(result, indent=1))
                part.replace(arguments.json)
    print()
    print(report.table(result))


def _interrupted(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _lock(work: Path) -> None:
    """One benchmark at a time in a directory: they share the disk's file. Held until this process ends."""
    try:
        fcntl.flock(os.open(work, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(f"another benchmark uses {work}: choose another directory with --work")


def _say(run: Run) -> None:
    said = f"failed: {run.error}" if run.error else f"{run.wall:.3f} s wall, {run.cpu:.3f} s CPU"
    print(f"{run.scenario} {run.round + 1}: {run.peer}: {said}", file=sys.stderr, flush=True)


def _wanted_peers(names: str | None) -> list[Peer]:
    if names is None:
        return [peer for peer in PEERS if peer.by_default]
    wanted = {OURS, *names.split(",")}
    if unknown := wanted - {peer.name for peer in PEERS}:
        sys.exit(f"no such peer: {', '.join(sorted(unknown))}")
    return [peer for peer in PEERS if peer.name in wanted]


def _scenarios(arguments: argparse.Namespace, place: Network) -> list[Scenario]:
    if arguments.registry:
        return [Scenario(name, "pull", Image(name, name)) for name in arguments.image]
    push = partial(_push, server=place.server)
    found = []
    for name in arguments.images.split(","):
        if name not in _KINDS and name not in RECIPES:
            sys.exit(f"no such image: {name}")
        made = ensure("tiny" if name in _KINDS else name, arguments.work, push)
        found.append(Scenario(name, _KINDS.get(name, "pull"), made))
    return found


def _push(layout: Path, reference: str, *, server: str | None) -> None:
    target = f"docker://localhost:5000/{reference}"
    words: Sequence[str | Path] = ["skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci:{layout}", target]
    subprocess.run(words, check=True, preexec_fn=lambda: enter(server))


def _use_rootfs(work: Path, tars: Sequence[Path]) -> None:
    """They take the places of the packages' layers."""
    for name in ("large", "large-zstd"):
        (work / f"image-{name}.json").unlink(missing_ok=True)
    for number, tar in enumerate(tars):
        place = work / f"debian{number}.tar"
        place.unlink(missing_ok=True)
        place.symlink_to(tar.absolute())


# --- what becomes of it ------------------------------------------------------------------------


def _table(arguments: argparse.Namespace) -> None:
    """Medians and ratios in Markdown."""
    for path in arguments.files:
        print(report.table(report.read(path)))


def _plot(arguments: argparse.Namespace) -> None:
    """Bars of wall times as SVG."""
    for path in arguments.files:
        drawn = path.with_suffix(".svg")
        drawn.write_text(plot.svg(report.read(path)))
        print(drawn)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except FileNotFoundError as error:
        sys.exit(f"there is no {error.filename}")
