"""Options that docker's command line has and this one has not yet: loaded when somebody uses one."""

from __future__ import annotations

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


def lacking(verb: str | None, option: str) -> str | None:
    """The long form of an option that docker's verb has, or None."""
    for word in _OPTIONS.get(verb or "", "").split():
        long, _, short = word.partition("/")
        if option in (f"--{long}", f"-{short}"):
            return f"--{long}"
    return None
