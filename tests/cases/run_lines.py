"""Command lines of `run`, for docker and for us: the same standard output and the same exit code.

One line each, in words as one types them. BOX is an image with a shell and what goes with it, SVC one with an
entrypoint, a user, a directory and variables; DIR is a directory of the host with a file. What differs on
purpose says why.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """A command line after `run --rm`, and what is known about it."""

    text: str
    stdin: bytes = b""
    differs: str = ""
    """Why the answers are not the same; then it is only tried."""
    by: str = ""
    """The runtime of ours with which they differ, if not with all."""
    needs_root: bool = False
    """An ordinary user cannot have this, and is told so."""
    only: str = ""
    """The runtime of ours that alone can do it; with others it is refused, and a sentence says why."""

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text)


def lines(*texts: str, **more: str | bool | bytes) -> list[Line]:
    return [Line(text, **more) for text in texts]  # type: ignore[arg-type]


COMMANDS = lines(
    "BOX true",
    "BOX false",
    "BOX sh -c 'exit 42'",
    "BOX sh -c 'exit 255'",
    "BOX",
    "BOX echo",
    "BOX echo a 'b  c' ''",
    "BOX echo -n x",
    "BOX echo '$HOME' '*' '\\n'",
    "BOX -c true",
    "BOX --version",
    "BOX echo --rm -it -e A=1",
    "BOX nothing",
    "BOX /nothing",
    "BOX ./nothing",
    "BOX /etc/passwd",
    "BOX /etc",
    "BOX ''",
    "BOX sh -c 'kill -9 $$'",
    "BOX sh -c 'kill -TERM $$; sleep 0.1; echo still'",
    "BOX sh -c 'sh -c \"kill -15 \\$\\$\"; echo $?'",
    "BOX sh -c 'echo out; echo err >&2; exit 7'",
    "BOX sh -c 'echo $0 $1' name one",
    "BOX sh -c 'echo $$'",
    "BOX sh -c 'sleep 0.1 & wait; echo done'",
    "BOX sh -c '(sleep 30 &) ; echo gone'",
    "BOX cat /etc/passwd",
    "BOX seq 1 5000",
    "BOX head -c 300000 /dev/zero",
    "SVC",
    "SVC more words",
    "SVC ''",
)
ENTRYPOINTS = lines(
    "--entrypoint echo BOX hi",
    "--entrypoint=echo BOX hi",
    "--entrypoint echo SVC hi",
    "--entrypoint echo SVC",
    "--entrypoint '' SVC echo hi",
    "--entrypoint '' BOX",
    "--entrypoint /bin/sh BOX -c 'echo x'",
    "--entrypoint nothing BOX",
    "--entrypoint /etc/passwd BOX",
)
ENVIRONMENT = [
    *lines(
        "-e A=1 BOX sh -c 'echo $A'",
        "-eA=1 BOX sh -c 'echo $A'",
        "--env A=1 --env B=2 BOX sh -c 'echo $A$B'",
        "--env=A=1 BOX sh -c 'echo $A'",
        "-e A=1 -e A=2 BOX sh -c 'echo $A'",
        "-e A= BOX sh -c 'echo ${A-unset}.'",
        "-e A BOX sh -c 'echo ${A-unset}.'",
        "-e FROM_HOST BOX sh -c 'echo ${FROM_HOST-unset}.'",
        "-e A=b=c BOX sh -c 'echo $A'",
        "-e 'A=b c' BOX sh -c 'echo \"$A\"'",
        "-e PATH=/nowhere BOX /bin/echo x",
        "-e PATH=/nowhere BOX echo x",
        "-e HOME=/x BOX sh -c 'echo $HOME'",
        "-e FROM_IMAGE=no BOX sh -c 'echo $FROM_IMAGE'",
        "BOX sh -c 'echo $FROM_IMAGE $PATH'",
        "BOX sh -c 'echo $HOME'",
        "BOX sh -c 'echo ${TERM-none}'",
        "BOX env -i env",
        "-h box BOX env",
        "--env-file DIR/vars BOX sh -c 'echo $A.$B.$C.${D-unset}.$FROM_HOST'",
        "--env-file DIR/vars -e A=9 BOX sh -c 'echo $A'",
        "--env-file DIR/nothing BOX true",
        "--env-file DIR/badvars BOX true",
        "SVC env",
    ),
]
USERS = lines(
    "-u 1000 BOX id",
    "-u 1000:1000 BOX id",
    "-u user BOX id",
    "-u user:root BOX id",
    "-u user:wheel BOX id",
    "-u 0:1000 BOX id",
    "-u :wheel BOX id",
    "-u :5000 SVC id",
    "-u : BOX id",
    "-u :nobody-here BOX id",
    "-u root BOX id",
    "--user=1234:4321 BOX sh -c 'id -u; id -g; id -G; echo $HOME'",
    "-u nobody-here BOX id",
    "-u user:nobody-here BOX id",
    "-u -1 BOX id",
    "-u 4294967296 BOX id",
    "-u '' BOX id -u",
    "-u user BOX sh -c 'echo $HOME; cat /root/x'",
    "-u user --group-add wheel BOX id",
    "-u user --group-add 4242 BOX id",
    "SVC id",
)
PLACES = [
    *lines(
        "-w /tmp BOX pwd",
        "-w=/tmp BOX pwd",
        "-iw=/tmp BOX pwd",
        "-w= BOX pwd",
        "-w== BOX pwd",
        "-i=false -e=A=1 -u=1 BOX sh -c 'echo $A $(id -u)'",
        "-w /new/place BOX pwd",
        "--workdir=/tmp BOX pwd",
        "-w relative BOX pwd",
        "-w /etc/passwd BOX pwd",
        "-w /tmp/../etc BOX pwd",
        "-w / BOX pwd",
        "BOX pwd",
        "SVC pwd",
        "-h box BOX hostname",
        "--hostname box.example.com BOX hostname",
        "-h box BOX cat /etc/hostname",
        "--add-host www:10.1.2.3 BOX sh -c 'grep www /etc/hosts'",
        "--add-host db:nothing BOX true",
        "--dns 10.9.8.7 --dns-search example.com BOX cat /etc/resolv.conf",
        "--dns-option ndots:3 --dns 10.9.8.7 --dns-search . BOX cat /etc/resolv.conf",
        "--dns nothing BOX true",
    ),
    *lines(
        "-h 'a b' BOX true",
        differs="the name would break /etc/hosts; docker takes it",
    ),
]
MOUNTS = [
    *lines(
        "-v DIR:/data BOX cat /data/note",
        "-v DIR:/data:ro BOX sh -c 'echo x >/data/new; cat /data/note'",
        '-v DIR:/data:ro BOX sh -c \'grep " /data " /proc/mounts | cut -d" " -f2\'',
        "-v DIR/note:/etc/note BOX cat /etc/note",
        "-v DIR/note:/new/place/note BOX cat /new/place/note",
        "--volume=DIR:/data BOX ls /data",
        "-v DIR:/etc BOX ls /etc/note",
        "-v DIR:/a -v DIR:/a/b BOX ls /a/b/note",
        "-v DIR:relative BOX true",
        "-v DIR:/ BOX true",
        "-v DIR:/data:nonsense BOX true",
        "-v ./x:/data:ro:rw BOX true",
        "--mount type=bind,source=DIR,target=/data BOX cat /data/note",
        "--mount type=bind,src=DIR,dst=/data,readonly BOX sh -c 'echo x >/data/new; cat /data/note'",
        "--mount type=bind,source=DIR/missing,target=/data BOX true",
        "--mount type=tmpfs,target=/t BOX sh -c 'grep -c \" /t tmpfs \" /proc/mounts'",
        "--mount type=nonsense,target=/t BOX true",
        "--mount target=/t BOX sh -c 'touch /t/x; ls /t'",
        "--tmpfs /t BOX sh -c 'grep -c \" /t tmpfs \" /proc/mounts; touch /t/x; ls /t'",
        "--tmpfs /t:size=1m BOX sh -c 'dd if=/dev/zero of=/t/x bs=1k count=2000 2>/dev/null; echo $?'",
        "--tmpfs /t:ro BOX sh -c 'touch /t/x; echo $?'",
        "--read-only BOX sh -c 'touch /x; echo $?'",
        "--read-only --tmpfs /t BOX sh -c 'touch /t/x && echo written'",
        "--read-only -v DIR:/data BOX cat /data/note",
        "--shm-size 1m BOX sh -c 'dd if=/dev/zero of=/dev/shm/x bs=1k count=2000 2>/dev/null; echo $?'",
        'BOX sh -c \'df -k /dev/shm | tail -1 | tr -s " " | cut -d" " -f2\'',
        "--shm-size nonsense BOX true",
    ),
]
RIGHTS = [
    *lines(
        "BOX sh -c 'mount -t tmpfs x /mnt; echo $?'",
        "BOX sh -c 'echo 1 >/proc/sys/kernel/hostname; echo $?'",
        "BOX sh -c 'cat /proc/kcore | wc -c'",
        "BOX sh -c 'ls /sys/firmware | wc -l'",
        "BOX sh -c 'ls /proc/acpi 2>/dev/null | wc -l'",
        "BOX sh -c 'echo b >/proc/sysrq-trigger; echo $?'",
        "BOX sh -c 'touch /sys/x; echo $?'",
        "BOX sh -c 'echo x >/dev/null; head -c 4 /dev/zero | wc -c; echo x >/dev/full; echo $?'",
        "BOX sh -c 'chown user /tmp && stat -c %U /tmp'",
        "--cap-drop ALL BOX sh -c 'grep CapEff /proc/self/status'",
        "--cap-drop all --cap-add chown BOX sh -c 'grep CapEff /proc/self/status'",
        "--cap-drop=CAP_CHOWN BOX sh -c 'chown user /tmp; echo $?'",
        "--cap-drop ALL --cap-add NET_BIND_SERVICE,CHOWN BOX sh -c 'grep CapEff /proc/self/status'",
        "--cap-add NONSENSE BOX true",
        "--security-opt no-new-privileges BOX sh -c 'grep NoNewPrivs /proc/self/status'",
        "--security-opt nonsense=1 BOX true",
        "-u user BOX sh -c 'grep CapEff /proc/self/status'",
        "--ulimit nofile=100:200 BOX sh -c 'ulimit -n; ulimit -Hn'",
        "--ulimit core=0 BOX sh -c 'ulimit -c'",
        "--ulimit nonsense=1 BOX true",
        "--ulimit nofile=200:100 BOX true",
        "--pids-limit 0x BOX true",
        "-m 1 BOX true",
        "-m nonsense BOX true",
        "--cpus nonsense BOX true",
        "--cpus 1000 BOX true",
        "--stop-signal NONSENSE BOX true",
        "--label a=b -l c BOX echo labelled",
        "--device /dev/null:/dev/other BOX sh -c 'echo x >/dev/other; ls /dev/other'",
        "--oom-score-adj 500 BOX cat /proc/self/oom_score_adj",
        "--sysctl net.ipv4.ip_forward=nonsense,x BOX true",
    ),
    *lines(
        "BOX ls /dev",
        differs="crun makes /dev/core whether there is a /proc/kcore or not",
        by="crun",
    ),
    *lines(
        "--init BOX sh -c 'echo $$ | grep -qv \"^1$\" && echo child'",
        "--init BOX sh -c 'exit 9'",
        "--init BOX nothing",
        only="native",
    ),
    *lines(
        "BOX sh -c 'grep CapEff /proc/self/status'",
        differs="podman's eleven capabilities, and not docker's fourteen",
    ),
    *lines(
        "BOX sh -c 'grep NoNewPrivs /proc/self/status'",
        differs="no new privileges by default",
    ),
    *lines(
        "--privileged BOX sh -c 'grep CapEff /proc/self/status | grep -qv 00000000a80425fb && echo more'",
        differs="docker must have CAP_SYS_RESOURCE and all others for it; we give those that we have",
    ),
    *lines(
        "--device /dev/nothing BOX true",
        differs="docker ends with 127, we with 125 as for every option that cannot be",
    ),
]
STREAMS = [
    Line("-i BOX cat", b"typed\n"),
    Line("--interactive BOX sh -c 'read x; echo got $x'", b"one\ntwo\n"),
    Line("BOX cat", b"not read\n"),
    Line("-i BOX wc -c", b"x" * 200_000),
    Line("-i BOX true", b"x" * 200_000),
    Line("-t BOX sh -c 'tty; stty size >/dev/null; echo $TERM'"),
    Line("-t BOX sh -c 'echo a; echo b >&2'"),
    Line("-it BOX true", b"x", differs="docker ends with 1, we with 125 as for every option"),
    Line("-i=false BOX cat", b"x"),
    Line("-ti=true BOX true", b"x", differs="docker ends with 1, we with 125 as for every option"),
]
OPTIONS = [
    *lines(
        "--nothing BOX true",
        "-q BOX echo quiet",
        "--quiet=true BOX echo quiet",
        "--name 'a b' BOX true",
        "--name run-line-name BOX echo named",
        "--pull never BOX echo here",
        "--pull nonsense BOX true",
        "--restart no BOX echo once",
        "--restart '' BOX echo once",
        "--restart always BOX true",
        "--restart nonsense BOX true",
        "--restart on-failure:x BOX true",
        "--restart always:3 BOX true",
        "--platform nonsense BOX true",
        "--platform linux/nonsense --pull never BOX true",
        "-- BOX echo dashes",
        "--network none BOX sh -c 'ls /sys/class/net'",
        "--network none BOX sh -c 'ip -br addr show lo | grep -c 127.0.0.1'",
        "--network nonsense BOX true",
        "--network host BOX echo hosted",
        "--network host BOX sh -c 'hostname; echo $HOSTNAME; cat /etc/hostname'",
        "--network host -h me BOX sh -c 'hostname; echo $HOSTNAME; cat /etc/hostname'",
        "--network none -p 80:80 BOX echo none",
        "--network none -P BOX echo none",
        "--log-driver none BOX echo logged",
        "--log-driver json-file BOX echo logged",
        "--log-driver local BOX echo logged",
        "--log-driver nothing BOX echo logged",
        "--userns host BOX echo hosted",
        "--userns nothing BOX true",
        "--sig-proxy BOX echo passed",
        "-a stdout BOX sh -c 'echo o; echo e >&2'",
        "-a STDERR BOX sh -c 'echo o; echo e >&2'",
        "-a=stdout --attach stderr BOX sh -c 'echo o; echo e >&2'",
        "-a nothing BOX true",
        "--ipc host BOX echo shared",
        "-e A=1 -w /tmp -u user -h box --entrypoint sh BOX -c 'echo $A $PWD $(id -u) $(hostname)'",
    ),
    *lines(
        "--pid host BOX sh -c 'test $$ -ne 1 && echo seen'",
        differs="processes are always a container's own, and the option is refused",
    ),
]

LINES: dict[str, Line] = {
    f"{kind}/{number}": line
    for kind, found in {
        "commands": COMMANDS,
        "entrypoints": ENTRYPOINTS,
        "environment": ENVIRONMENT,
        "users": USERS,
        "places": PLACES,
        "mounts": MOUNTS,
        "rights": RIGHTS,
        "streams": STREAMS,
        "options": OPTIONS,
    }.items()
    for number, line in enumerate(found)
}
