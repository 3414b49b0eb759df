"""`python -m scripts.trees`: real images, unpacked by us, umoci and podman, as root and rootless, and compared.

Each is pushed to a real registry first. Every attribute counts: names, types, modes, owners, times in
nanoseconds, extended attributes, links, contents. Further images come from wherever skopeo reads them:
--image alpine=docker-archive:alpine.tar.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from aiodocker_lite.testing.images import write_layout
from tests.fakes.processes import RealRegistry, program, running_registry
from tests.fakes.real_images import MAKERS
from tests.fakes.unpackers import compare
from tests.runtime.cage import NOBODY

_SHOWN = 10


def layout_of(name: str, source: str, work: Path) -> Path:
    """An OCI layout with the image; an own one where no source is given."""
    work.mkdir()
    if not source:
        return write_layout(work / "layout", {"latest": MAKERS[name](work)})
    command = [program("skopeo"), "--insecure-policy", "copy", "--quiet", source, f"oci:{work}/layout:latest"]
    subprocess.run(command, check=True)
    return work / "layout"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.trees", description=__doc__)
    parser.add_argument(
        "--image", action="append", metavar="NAME[=SOURCE]", help=f"one of {', '.join(MAKERS)}, or any other"
    )
    images = parser.parse_args().image or list(MAKERS)
    wrong = 0
    with tempfile.TemporaryDirectory() as directory, running_registry(Path(directory), {}) as address:
        Path(directory).chmod(0o755)
        for image in images:
            name, _, source = image.partition("=")
            layout = layout_of(name, source, Path(directory, name))
            full = RealRegistry(address).push(layout, name)
            for found in compare(layout, full, (0, NOBODY) if os.geteuid() == 0 else (os.geteuid(),)):
                who = "rootless" if found.user else "root"
                count = len(found.differences)
                print(
                    f"{name:12} {who:8} {found.tool:9} {found.entries:6} entries {count:4} differences",
                    flush=True,
                )
                for sentence in found.differences[:_SHOWN]:
                    print(f"    {sentence}")
                wrong += count
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
