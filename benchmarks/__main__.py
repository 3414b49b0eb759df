"""Measurements, side by side with every other tool that is installed.

python -m benchmarks run --json FILE    measure, as root; --help lists what can be chosen
python -m benchmarks table FILE...      medians and ratios in Markdown, of such files
python -m benchmarks plot FILE...       FILE.svg for each of them
python -m benchmarks confinement        what walls and limits around unpacking cost

Exits with 0, with 1 where something failed that is ours or the machine's, with 2 for what was asked
wrongly, and with 128 and its number for a signal.
"""

from __future__ import annotations

import argparse
import compileall
import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import aiodocker_lite
from benchmarks import confinement, filesystem, fleet, plot, report
from benchmarks.images import Image, ensure
from benchmarks.interrupts import hold, interruptible
from benchmarks.machine import facts
from benchmarks.measure import Bench, Run, Scenario
from benchmarks.network import Link, Network, enter, network, registry
from benchmarks.options import KINDS, Parser, add_run_options, part_of
from benchmarks.peers import OURS, PEERS, PROGRAM, Peer

_NEEDED = (
    *("curl", "docker-registry", "gzip", "ip", "losetup", "mkfs.ext4", "mmdebstrap", "mount", "openssl"),
    *("skopeo", "sync", "zstd"),
)


def main() -> None:
    hold()
    if sys.argv[1:2] == ["confinement"]:
        confinement.main(sys.argv[2:])
        return
    parser = Parser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="measure")
    add_run_options(run)
    run.set_defaults(does=_run, refuse=run.error)
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


# --- run ---------------------------------------------------------------------------------------


def _run(arguments: argparse.Namespace) -> None:
    """Measure, and print the table."""
    if bool(arguments.registry) != bool(arguments.image):
        arguments.refuse("--image and --registry come together")
    if arguments.registry and arguments.link:
        arguments.refuse("--link shapes only the way to our own registry: leave out --registry")
    if os.geteuid() != 0:
        sys.exit("this needs root: for file systems, control groups, network namespaces and daemons")
    if missing := [name for name in _NEEDED if shutil.which(name) is None]:
        sys.exit(f"these programs are missing: {', '.join(missing)}")
    wanted = _wanted_peers(arguments.peers)
    present = [peer for peer in wanted if peer.missing() is None]
    if OURS not in [peer.name for peer in present]:
        sys.exit(f"there is no {PROGRAM}: install this checkout beside the Python that measures")
    filesystem.step_apart()
    arguments.work.mkdir(parents=True, exist_ok=True)
    _lock(arguments.work)
    # As pip leaves an installed package: else each command of a checkout may compile it once more.
    compileall.compile_dir(Path(aiodocker_lite.__file__).parent, quiet=2)
    if arguments.rootfs:
        _use_rootfs(arguments.work, arguments.rootfs)
    result: dict[str, Any] = {
        "machine": facts(),
        "peers": {peer.name: peer.found_version() if peer in present else None for peer in wanted},
        "images": {},
        "scenarios": {},
        "runs": [],
    }
    for link in dict.fromkeys(arguments.link or [None]):
        _measure(arguments, link, present, result)
    print()
    print(report.table(result))
    failed = [run for run in result["runs"] if run["peer"].startswith(OURS) and run["error"]]
    if failed:
        first = f"the first of {failed[0]['scenario']}: {failed[0]['error']}"
        sys.exit(f"{len(failed)} of our own runs failed, {first}")


def _measure(
    arguments: argparse.Namespace, link: Link | None, peers: Sequence[Peer], result: dict[str, Any]
) -> None:
    """All runs behind one link go into `result`, and what they are of before the first."""
    with ExitStack() as closing:
        place = Network(None, None, arguments.registry)
        if not arguments.registry:
            place = closing.enter_context(network(link))
            closing.enter_context(registry(arguments.work, place.server))
        scenarios = _scenarios(arguments, place, link)
        for scenario in scenarios:
            result["images"][scenario.image.name] = asdict(scenario.image)
            result["scenarios"][scenario.name] = {
                "what": scenario.what,
                "image": scenario.image.name,
                "link": link and asdict(link),
                "peers": [peer.name for peer in peers if scenario.command(peer)],
            }
        for run in Bench(arguments.work, place).run_all(scenarios, peers, arguments.runs):
            result["runs"].append(asdict(run))
            _say(run)
            if arguments.json:
                part = part_of(arguments.json)
                part.write_text(json.dumps(result, indent=1))
                part.replace(arguments.json)


def _lock(work: Path) -> None:
    """One benchmark at a time in a directory: they share the disk's file. Held until this process ends."""
    try:
        fcntl.flock(os.open(work, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(f"another benchmark uses {work}: choose another directory with --work")


def _say(run: Run) -> None:
    said = f"failed: {run.error}" if run.error else f"{run.wall:.3f} s wall, {run.cpu:.3f} s CPU"
    print(f"{run.scenario} {run.round + 1}: {run.peer}: {said}", file=sys.stderr, flush=True)


def _wanted_peers(names: Sequence[str] | None) -> list[Peer]:
    if names is None:
        return [peer for peer in PEERS if peer.by_default]
    return [peer for peer in PEERS if peer.name in {OURS, *names}]


def _scenarios(arguments: argparse.Namespace, place: Network, link: Link | None) -> list[Scenario]:
    if arguments.registry:
        return [Scenario(name, "pull", Image(name, name)) for name in arguments.image]
    push = partial(_push, server=place.server)
    found = []
    for name in arguments.images:
        with interruptible():
            if name == fleet.NAME:
                made = fleet.ensure(arguments.work, push)
            else:
                made = ensure("tiny" if name in KINDS else name, arguments.work, push)
        what = "many" if made.names else KINDS.get(name, "pull")
        found.append(Scenario(f"{name} at {link}" if link else name, what, made, link))
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
    except KeyboardInterrupt as interrupt:
        sys.exit(128 + (interrupt.args or [2])[0])
    except FileNotFoundError as error:
        sys.exit(f"there is no {error.filename}")
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        sys.exit(str(error))
