"""The files by which a container knows the network, when it shares the host's."""

from __future__ import annotations

from pathlib import Path

from aiodocker_lite.errors import StoreUnwritable

_LOCAL = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"


def write_network_files(directory: Path, hostname: str) -> dict[str, Path]:
    """Write a container's hosts, hostname and resolv.conf into its directory.

    Returns what is to be bound where, for `build_spec`. Names are resolved as on the host; the
    container's own name leads to itself. Raises StoreUnwritable.
    """
    contents = {
        "/etc/hosts": _hosts(_of_host("/etc/hosts") or _LOCAL, hostname),
        "/etc/hostname": f"{hostname}\n",
        "/etc/resolv.conf": _of_host("/etc/resolv.conf"),
    }
    files = {target: directory / Path(target).name for target in contents}
    try:
        for target, file in files.items():
            file.write_text(contents[target], errors="surrogateescape")
            file.chmod(0o644)
    except OSError as error:
        raise StoreUnwritable(str(directory), error.strerror or str(error)) from error
    return files


def _hosts(text: str, hostname: str) -> str:
    # The host does not know this name, for the container has its own UTS namespace.
    if any(hostname in line.partition("#")[0].split()[1:] for line in text.splitlines()):
        return text
    end = "" if text.endswith("\n") else "\n"
    return f"{text}{end}127.0.1.1\t{hostname}\n"


def _of_host(path: str) -> str:
    try:
        return Path(path).read_text(errors="surrogateescape")
    except OSError:  # a host without a resolver is a host without one
        return ""
