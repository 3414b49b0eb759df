"""Type command lines of `run` at docker and at us, and compare output and exit code; print the counts.

As root and as an ordinary user, by our own runtime and by crun and runc. A finding is printed with its name,
and `--only NAME` plays it again. Needs root, and Debian's docker.io. Ends with 1 if something was found.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from tests.cases.run_lines import LINES
from tests.cases.run_plays import WAYS, is_documented, judge, staging


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.runlines",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", metavar="NAME", help="the lines whose name begins so, such as users/3")
    parser.add_argument("--ways", default=",".join(WAYS), help="some of these: %(default)s")
    chosen = parser.parse_args()
    ways = tuple(chosen.ways.split(","))
    lines = {name: line for name, line in LINES.items() if name.startswith(chosen.only or "")}
    findings = dict.fromkeys(ways, 0)
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place,
        staging(Path(place), ways) as stage,
    ):
        for name, line in lines.items():
            docker = stage.with_docker(line)
            for way in ways:
                if found := judge(line, docker, stage.with_us(line, way), way):
                    findings[way] += 1
                    print(f"{name} {way}: run {line.text}\n    {found}", flush=True)
    for way, count in findings.items():
        differ = sum(is_documented(line, way) for line in lines.values())
        print(f"{way}: {len(lines)} command lines, {differ} documented differences, {count} findings")
    print(f"{time.monotonic() - began:.0f} s")
    return 1 if any(findings.values()) else 0


if __name__ == "__main__":
    raise SystemExit(main())
