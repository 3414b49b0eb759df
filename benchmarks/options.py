"""What can be chosen for a run. Whatever is wrong is found before anything is made, and is one sentence."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from benchmarks import fleet
from benchmarks.images import RECIPES
from benchmarks.network import Link
from benchmarks.peers import PEERS

KINDS = {"up-to-date": "again", "run": "run", "live": "live"}
"""What is done with the tiny image; all other names are of images, for cold pulls."""
_DEFAULT = "large,large-zstd,small,many,one,tiny,up-to-date,run,live"


class Parser(argparse.ArgumentParser):
    """Says what is wrong, and not all that would be right."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def add_run_options(parser: argparse.ArgumentParser) -> None:
    peers, images = [peer.name for peer in PEERS], [*RECIPES, fleet.NAME, *KINDS]
    add = parser.add_argument
    add(
        "--images",
        type=_names(images),
        default=_DEFAULT,
        help=f"of {', '.join(images)}; 100mb and huge (5 GB) show memory, fleet is 20 images (default: {_DEFAULT})",
    )
    add("--image", action="append", default=[], metavar="NAME", help="a cold pull of NAME at --registry")
    add("--registry", metavar="HOST", help="where --image is; without shaping, and not made by us")
    add(
        "--peers",
        type=_names(peers),
        help=f"of {', '.join(peers)}; aiodocker-lite is always there (default: all but variants and curl)",
    )
    add("--runs", type=count, default=5)
    add(
        "--link",
        type=_link,
        action="append",
        metavar="RATE,DELAY",
        help="as 1gbit,20ms or 100mbit,5ms,1%% or unshaped; once for each link",
    )
    add("--json", type=_result_file, metavar="FILE", help="write every run there, after each")
    add(
        "--rootfs",
        type=_tar,
        action="append",
        help="a tar as a layer of the large images, not mmdebstrap's",
    )
    add(
        "--work",
        type=_directory,
        default="/var/tmp/aiodocker-lite-benchmarks",
        help="what is kept for next time",
    )


def count(text: str) -> int:
    """A number of runs."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


def part_of(path: Path) -> Path:
    """Where a file is written before it takes its place."""
    return path.with_name(f"{path.name}.part")


def _names(known: Sequence[str]) -> Callable[[str], list[str]]:
    def names(text: str) -> list[str]:
        found = dict.fromkeys(text.split(","))
        for name in found:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
        return list(found)

    return names


def _link(text: str) -> Link | None:
    try:
        return None if text == "unshaped" else Link.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _result_file(text: str) -> Path:
    path = Path(text).resolve()
    if path.exists() and not path.is_file():
        raise argparse.ArgumentTypeError(f"{text!r} cannot be written: it is no regular file")
    try:
        if path.exists():
            path.open("ab").close()
        part_of(path).touch()
        part_of(path).unlink()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text!r} cannot be written: {error.strerror}") from None
    return path


def _tar(text: str) -> Path:
    path = Path(text).absolute()
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"there is no file {text!r}")
    return path


def _directory(text: str) -> Path:
    """That there is, or that can be made."""
    path = Path(text).absolute()
    there = next(each for each in (path, *path.parents) if each.exists())
    if not there.is_dir():
        raise argparse.ArgumentTypeError(f"'{there}' is no directory")
    return path
