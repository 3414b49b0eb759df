"""Options that docker's command line has and this one has not yet: loaded when somebody uses one."""

from __future__ import annotations

_OPTIONS = {
    "run": """
        add-host annotation attach/a blkio-weight blkio-weight-device cap-add cap-drop cgroup-parent cgroupns cidfile
        cpu-count cpu-percent cpu-period cpu-quota cpu-rt-period cpu-rt-runtime cpu-shares/c cpus cpuset-cpus
        cpuset-mems detach/d detach-keys device device-cgroup-rule device-read-bps device-read-iops device-write-bps
        device-write-iops disable-content-trust dns dns-opt dns-option dns-search domainname env-file expose gpus
        group-add health-cmd health-interval health-retries health-start-interval health-start-period health-timeout
        init io-maxbandwidth io-maxiops ip ip6 ipc isolation kernel-memory label/l label-file link link-local-ip
        log-driver log-opt mac-address memory/m memory-reservation memory-swap memory-swappiness mount net net-alias
        network network-alias no-healthcheck oom-kill-disable oom-score-adj pid pids-limit privileged publish/p
        publish-all/P read-only restart runtime security-opt shm-size sig-proxy stop-signal stop-timeout
        storage-opt sysctl tmpfs ulimit use-api-socket userns uts volume-driver volumes-from
    """,
    "pull": "all-tags/a disable-content-trust",
    "save": "platform",
    "images": "all/a digests filter/f tree",
    "inspect": "format/f size/s type",
    "rmi": "no-prune",
    "prune": "filter volumes",
    "df": "verbose/v",
    "ps": "filter/f format last/n latest/l size/s",
    "rm": "force/f link/l volumes/v",
}


def lacking(verb: str | None, option: str) -> str | None:
    """The long form of an option that docker's verb has, or None."""
    for word in _OPTIONS.get(verb or "", "").split():
        long, _, short = word.partition("/")
        if option in (f"--{long}", f"-{short}"):
            return f"--{long}"
    return None
