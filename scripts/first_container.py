"""What `scripts/quickstart` shows, when the environment is there."""

from __future__ import annotations

import shlex
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import anyio
from anyio import to_thread

from aiodocker_lite import Engine, Settings
from scripts.pack_shell import pack_shell

PROGRAM = str(Path(sys.executable).with_name("aiodocker-lite"))


def show(store: Path, *arguments: str) -> None:
    """Print a command and run it; the store is one of our own, so that nothing is left behind."""
    print(f"+ aiodocker-lite {shlex.join(arguments)}", flush=True)
    subprocess.run([PROGRAM, "--root", str(store), *arguments], check=True)


def pull_and_run(store: Path, image: str, *command: str) -> None:
    show(store, "pull", image)
    show(store, "images")
    show(store, "run", "--rm", image, *command)


def has_docker_hub() -> bool:
    try:
        socket.create_connection(("registry-1.docker.io", 443), timeout=5).close()
    except OSError:
        return False
    return True


async def pull_from_ourselves(work: Path) -> None:
    """Pack, load, and serve on loopback while another store pulls from there."""
    archive = work / "shell.tar"
    pack_shell(archive, "localhost/host-shell:latest")
    async with Engine(Settings(root=work / "origin")) as origin:
        await origin.load(archive)
        async with origin.serve() as (_, port):
            image = f"localhost:{port}/host-shell"
            hello = ("/bin/sh", "-c", "echo Hello from local registry")
            await to_thread.run_sync(pull_and_run, work / "store", image, *hello)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="aiodocker-lite.") as name:
        work = Path(name)
        if len(sys.argv) > 1:
            pull_and_run(work / "store", *sys.argv[1:])
        elif has_docker_hub():
            pull_and_run(work / "store", "alpine", "/bin/sh", "-c", "echo Hello from Docker Hub")
        else:
            print("Docker Hub cannot be reached: packing an image from this machine's shell", flush=True)
            anyio.run(pull_from_ourselves, work)


try:
    main()
except subprocess.CalledProcessError as error:
    sys.exit(error.returncode)
