"""Verbs and options that docker's command line has and this one has not: loaded when somebody uses one."""

from __future__ import annotations

from aiodocker_lite.errors import NotSupported

_OPTIONS = {
    "run": """
        annotation blkio-weight blkio-weight-device cgroup-parent cgroupns cpu-count
        cpu-percent cpu-rt-period cpu-rt-runtime detach-keys device-cgroup-rule
        device-read-bps device-read-iops device-write-bps device-write-iops disable-content-trust
        expose gpus health-cmd health-interval health-retries health-start-interval
        health-start-period health-timeout io-maxbandwidth io-maxiops ip ip6 isolation kernel-memory
        link link-local-ip log-opt mac-address memory-swappiness net-alias
        network-alias no-healthcheck oom-kill-disable
        storage-opt use-api-socket volume-driver volumes-from
    """,
    "pull": "all-tags/a disable-content-trust",
    "save": "platform",
    "images": "all/a digests filter/f tree",
    "inspect": "size/s",
    "rmi": "no-prune",
    "prune": "filter volumes",
    "df": "verbose/v",
    "rm": "link/l",
    "start": "checkpoint checkpoint-dir detach-keys interactive/i",
    "logs": "details",
    "volume ls": "cluster",
    "volume create": "availability group limit-bytes opt/o required-bytes scope secret sharing topology-preferred topology-required type",
}


_VERBS = {
    "build": "build elsewhere, and 'load' the archive",
    "builder": "",
    "buildx": "build elsewhere, and 'load' the archive",
    "checkpoint": "",
    "commit": "",
    "compose": "'prefetch -f FILE' brings the images that a file of it names",
    "config": "",
    "context": "",
    "create": "'run -d' makes a container and starts it",
    "diff": "'cp NAME:PATH -' shows what is there",
    "events": "'wait' waits for the end of a container",
    "export": "'cp NAME:/ -' writes a container's files as a tar",
    "history": "'inspect' has the layers of an image",
    "import": "'load' reads images",
    "manifest": "",
    "network": "'run --network' says which one a container has, and 'info' which there are",
    "node": "",
    "pause": "",
    "plugin": "",
    "push": "'serve' has others pull from here, and 'save' writes an archive that skopeo can push",
    "search": "",
    "secret": "",
    "service": "",
    "stack": "",
    "swarm": "",
    "trust": "",
    "unpause": "",
    "update": "options are given to 'run'",
}
"""Docker's, and what of ours comes near."""


def refused(words: str) -> NotSupported | None:
    """The error for a verb that docker has, in one word or two, or None."""
    *_, verb = words.split()
    if verb not in _VERBS:
        return None
    return NotSupported(f"'docker {words}'", near=_VERBS[verb])


def lacking(verb: str | None, option: str) -> str | None:
    """The long form of an option that docker's verb has, or None."""
    for word in _OPTIONS.get(verb or "", "").split():
        long, _, short = word.partition("/")
        if option in (f"--{long}", f"-{short}"):
            return f"--{long}"
    return None
