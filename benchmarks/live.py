"""The median time of `engine.run` in a process that lives: python -m benchmarks.live STORE IMAGE."""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path

import anyio

from aiodocker_lite import Engine, RunOptions, Settings

_RUNS = 30


async def main(root: Path, name: str) -> None:
    seconds = []
    async with Engine(Settings(root=root)) as engine:
        image = await engine.image(name)
        for _ in range(_RUNS):
            start = time.perf_counter()
            await engine.run(image, ["true"], RunOptions(remove=True))
            seconds.append(time.perf_counter() - start)
    print(json.dumps({"seconds": statistics.median(seconds), "all": seconds}))


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]), sys.argv[2])
