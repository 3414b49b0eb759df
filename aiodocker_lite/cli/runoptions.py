"""Docker's options of a container, as they are written: declared once, for every verb that starts one."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from aiodocker_lite.errors import InvalidOption
from aiodocker_lite.mount import Mount
from aiodocker_lite.options import RunOptions, Stream, signal_number
from aiodocker_lite.ports import Port

T = TypeVar("T")

_STREAMS = ("stdin", "stdout", "stderr")
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?(?:([kmgtp]?)(?:i?b)?)", re.IGNORECASE)


def _one(*names: str, metavar: str, help: str) -> Any:
    return Annotated[str | None, typer.Option(*names, metavar=metavar, help=help)]


def _many(*names: str, metavar: str, help: str) -> Any:
    return Annotated[list[str] | None, typer.Option(*names, metavar=metavar, help=help)]


def _switch(*names: str, help: str) -> Any:
    return Annotated[bool, typer.Option(*names, help=help)]


_OPTIONS: dict[str, Any] = {
    "env": _many("--env", "-e", metavar="NAME[=VALUE]", help="An environment variable; without VALUE, as it is here."),
    "env_file": _many("--env-file", metavar="FILE", help="A file of environment variables, one a line."),
    "workdir": _one("--workdir", "-w", metavar="DIR", help="The directory to begin in."),
    "user": _one("--user", "-u", metavar="USER[:GROUP]", help="By name or number."),
    "group_add": _many("--group-add", metavar="GROUP", help="One more group, by name or number."),
    "volume": _many("--volume", "-v", metavar="SOURCE:TARGET[:ro]", help="Mount a path of this machine, or a volume by its name."),
    "mount": _many("--mount", metavar="TYPE,...", help="The same in long: type=bind|volume|tmpfs,source=...,target=...,ro."),
    "tmpfs": _many("--tmpfs", metavar="TARGET[:OPTIONS]", help="Mount an empty file system in memory."),
    "read_only": _switch("--read-only", help="Have a root that cannot be written."),
    "name": _one("--name", metavar="NAME", help="A name for the container."),
    "cidfile": _one("--cidfile", metavar="FILE", help="Write the container's ID into a new file."),
    "label": _many("--label", "-l", metavar="NAME[=VALUE]", help="A label of the container."),
    "label_file": _many("--label-file", metavar="FILE", help="A file of labels, one a line."),
    "entrypoint": _one("--entrypoint", metavar="COMMAND", help="In the place of the image's own."),
    "hostname": _one("--hostname", "-h", metavar="NAME", help="The container's host name."),
    "domainname": _one("--domainname", metavar="NAME", help="The container's NIS domain."),
    "add_host": _many("--add-host", metavar="NAME:ADDRESS", help="One more line of /etc/hosts."),
    "dns": _many("--dns", metavar="ADDRESS", help="A name server in the place of this machine's."),
    "dns_search": _many("--dns-search", metavar="DOMAIN", help="A domain to search names in; '.' is none."),
    "dns_option": _many("--dns-option", "--dns-opt", metavar="OPTION", help="An option of resolv.conf."),
    "restart": _one("--restart", metavar="POLICY", help="Start it again: no, on-failure[:N], always or unless-stopped; with -d."),
    "init": _switch("--init", help="Have a process 1 that passes signals on and reaps."),
    "stop_signal": _one("--stop-signal", metavar="SIGNAL", help="The signal that ends the container."),
    "stop_timeout": _one("--stop-timeout", metavar="SECONDS", help="From that signal to SIGKILL; -1 is for ever."),
    "ulimit": _many("--ulimit", metavar="NAME=SOFT[:HARD]", help="A limit of the process, such as nofile=1024."),
    "shm_size": _one("--shm-size", metavar="SIZE", help="The size of /dev/shm; 64m by default."),
    "memory": _one("--memory", "-m", metavar="SIZE", help="The most memory of all processes together."),
    "memory_swap": _one("--memory-swap", metavar="SIZE", help="Memory and swap together; -1 is unlimited."),
    "memory_reservation": _one("--memory-reservation", metavar="SIZE", help="What is left to it when memory is short."),
    "cpus": _one("--cpus", metavar="NUMBER", help="How many CPUs, such as 1.5."),
    "cpu_shares": _one("--cpu-shares", "-c", metavar="NUMBER", help="Its weight where there are not enough; 1024 is usual."),
    "cpu_period": _one("--cpu-period", metavar="USEC", help="The time in which --cpu-quota is counted."),
    "cpu_quota": _one("--cpu-quota", metavar="USEC", help="CPU time in each such period."),
    "cpuset_cpus": _one("--cpuset-cpus", metavar="LIST", help="Which CPUs, such as 0-2,4."),
    "cpuset_mems": _one("--cpuset-mems", metavar="LIST", help="Which memory nodes."),
    "pids_limit": _one("--pids-limit", metavar="NUMBER", help="How many processes and threads; -1 is unlimited."),
    "oom_score_adj": _one("--oom-score-adj", metavar="NUMBER", help="How soon it is killed where memory is short: -1000 to 1000."),
    "cap_add": _many("--cap-add", metavar="NAME", help="One more capability, or ALL."),
    "cap_drop": _many("--cap-drop", metavar="NAME", help="One capability less, or ALL."),
    "security_opt": _many("--security-opt", metavar="OPTION", help="no-new-privileges[=false], seccomp=unconfined or seccomp=FILE."),
    "privileged": _switch("--privileged", help="All capabilities and devices, and no filter: no protection."),
    "device": _many("--device", metavar="HOST[:TARGET[:rwm]]", help="A device of this machine."),
    "sysctl": _many("--sysctl", metavar="NAME=VALUE", help="A setting of the container's own namespaces."),
    "ipc": _one("--ipc", metavar="host|private", help="Whose shared memory and message queues."),
    "uts": _one("--uts", metavar="host|private", help="Whose host name."),
    "pid": _one("--pid", metavar="private", help="Whose processes are seen: only its own."),
    "network": _one("--network", "--net", metavar="MODE", help="host, none, private or container:NAME."),
    "publish": _many("--publish", "-p", metavar="[[IP:]PORT:]PORT[/udp]", help="A port of the container on this machine."),
    "publish_all": _switch("--publish-all", "-P", help="All ports that the image exposes, each on a free one of this machine."),
    "userns": _one("--userns", metavar="host", help="Which user namespace: only the one that there is."),
    "log_driver": _one("--log-driver", metavar="NAME", help="json-file or local, which are the same here; none without -d."),
    "attach": _many("--attach", "-a", metavar="STREAM", help="Without -d: show only stdout, or only stderr."),
    "require_isolation": _switch("--require-isolation", help="Refuse to run with less than all namespaces."),
    "runtime": _one("--runtime", metavar="NAME", help="native, crun, runc, youki or a path."),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Given:
    """What was given of these options; None, False or nothing where one was not."""

    values: dict[str, Any]

    @property
    def cidfile(self) -> str | None:
        """Where the ID is to be written."""
        return self.values["cidfile"] or None

    def check_log(self, *, detach: bool) -> None:
        """Raise InvalidOption for a log that is not kept here."""
        driver = self.values["log_driver"] or "json-file"
        if driver not in ("json-file", "local", "none"):
            raise InvalidOption("--log-driver", f"'{driver}' is none of json-file, local and none")
        if driver == "none" and detach:
            raise InvalidOption("--log-driver", "the output of what is detached is always kept, for 'logs'")

    def outputs(self, *, detach: bool, terminal: bool) -> tuple[Stream, Stream]:
        """Where standard output and errors go. Raises InvalidOption."""
        streams = [text.lower() for text in self.values["attach"] or ()]
        for stream in streams:
            if stream not in _STREAMS:
                raise InvalidOption("--attach", f"'{stream}' is none of {', '.join(_STREAMS)}")
        if not streams:
            return None, None
        if detach:
            raise InvalidOption("--attach", "conflicting options: cannot specify both --attach and --detach")
        if "stdout" not in streams and (terminal or "stderr" not in streams):
            what = "stdout of a terminal" if terminal else "stdout or stderr"
            raise InvalidOption("--attach", f"without {what} nothing would be seen")
        stdout, stderr = (None if stream in streams else subprocess.DEVNULL for stream in _STREAMS[1:])
        return stdout, stderr

    def options(self, *, remove: bool, terminal: bool = False) -> RunOptions:
        """The same for the engine. Raises InvalidOption."""
        given = self.values
        single: dict[str, Any] = {
            name: given[name] or None  # as docker does: nothing is as good as no option
            for name in (
                "user", "workdir", "hostname", "domainname", "name", "restart", "ipc", "uts", "pid", "cpuset_cpus", "cpuset_mems",
            )
        }  # fmt: skip
        mounts = (
            *(Mount.parse(text) for text in given["volume"] or ()),
            *(Mount.parse_long(text) for text in given["mount"] or ()),
            *(Mount.parse_tmpfs(text) for text in given["tmpfs"] or ()),
        )
        entrypoint = given["entrypoint"]
        if given["userns"] not in (None, "", "host"):
            reason = (
                f"'{given['userns']}' cannot be had: users are mapped where they have to be, and only there"
            )
            raise InvalidOption("--userns", reason)
        if given["stop_signal"]:
            signal_number(given["stop_signal"])
        return RunOptions(
            **single,
            env=environment(given["env_file"], given["env"]),
            labels=_variables("--label", given["label_file"], given["label"], label_of),
            mounts=mounts,
            groups=_all(given["group_add"]),
            entrypoint=None if entrypoint is None else (entrypoint,),
            hosts=_all(given["add_host"]),
            dns=_all(given["dns"]),
            dns_search=_all(given["dns_search"]),
            dns_options=_all(given["dns_option"]),
            remove=remove,
            terminal=terminal,
            network=given["network"] or None,
            publish=tuple(port for text in given["publish"] or () for port in Port.parse(text)),
            publish_all=given["publish_all"],
            init=given["init"],
            stop_signal=given["stop_signal"] or None,
            stop_timeout=_number("--stop-timeout", given["stop_timeout"]),
            read_only=given["read_only"],
            shm_size=_size("--shm-size", given["shm_size"]),
            sysctls=dict(label_of("--sysctl", text) for text in given["sysctl"] or ()),
            cap_add=_all(given["cap_add"]),
            cap_drop=_all(given["cap_drop"]),
            security=tuple(map(_with_profile, given["security_opt"] or ())),
            privileged=given["privileged"],
            devices=_all(given["device"]),
            ulimits=_all(given["ulimit"]),
            oom_score_adj=_number("--oom-score-adj", given["oom_score_adj"]),
            memory=_size("--memory", given["memory"]),
            memory_swap=_size("--memory-swap", given["memory_swap"]),
            memory_reservation=_size("--memory-reservation", given["memory_reservation"]),
            cpus=_fraction("--cpus", given["cpus"]),
            cpu_shares=_number("--cpu-shares", given["cpu_shares"]),
            cpu_period=_number("--cpu-period", given["cpu_period"]),
            cpu_quota=_number("--cpu-quota", given["cpu_quota"]),
            pids_limit=_number("--pids-limit", given["pids_limit"]),
            require_isolation=given["require_isolation"],
            runtime=given["runtime"],
        )


def with_run_options(verb: Callable[..., T]) -> Callable[..., T]:
    """Have a verb that takes `given` take all these options in its place."""

    @wraps(verb)
    def call(**arguments: Any) -> T:
        given = Given({name: arguments.pop(name) for name in _OPTIONS})
        return verb(**arguments, given=given)

    parameters: list[inspect.Parameter] = []
    hints = get_type_hints(verb, include_extras=True)
    for parameter in inspect.signature(verb).parameters.values():
        if parameter.name != "given":
            parameters.append(parameter.replace(annotation=hints[parameter.name]))
            continue
        for name, annotation in _OPTIONS.items():
            default = False if annotation.__origin__ is bool else None
            kind = inspect.Parameter.KEYWORD_ONLY
            parameters.append(inspect.Parameter(name, kind, default=default, annotation=annotation))
    vars(call)["__signature__"] = inspect.Signature(parameters, return_annotation=hints["return"])
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return call


def _all(given: Iterable[str] | None) -> tuple[str, ...]:
    return tuple(given or ())


@contextmanager
def cidfile(path: str | None) -> Iterator[Callable[[str], None]]:
    """Make the file of a container's ID, which may not be there; it is removed if no ID is written. Raises InvalidOption."""
    if path is None:
        yield lambda _: None
        return
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError as error:
        reason = f"container ID file found, make sure the other container isn't running or delete {path}"
        raise InvalidOption("--cidfile", reason) from error
    except OSError as error:
        raise InvalidOption("--cidfile", f"{path}: {error.strerror}") from error

    def write(identity: str) -> None:
        os.write(fd, identity.encode())

    try:
        yield write
    finally:
        if not os.fstat(fd).st_size:
            Path(path).unlink(missing_ok=True)
        os.close(fd)


# --- words and numbers -----------------------------------------------------------------------


def environment(files: Iterable[str] | None, given: Iterable[str] | None) -> dict[str, str]:
    """Of `--env-file` and `--env`. Raises InvalidOption."""
    return _variables("--env", files, given, _variable)


def _variables(
    option: str,
    files: Iterable[str] | None,
    given: Iterable[str] | None,
    read: Callable[[str, str], tuple[str, str] | None],
) -> dict[str, str]:
    """Those of files first: what is given itself comes after."""
    texts = [line for file in files or () for line in _lines(option, file)]
    return dict(filter(None, (read(option, text) for text in (*texts, *(given or ())))))


def _lines(option: str, file: str) -> Iterable[str]:
    try:
        content = Path(file).read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise InvalidOption(f"{option}-file", f"{file}: {error.strerror}") from error
    for line in content.splitlines():
        text = line.lstrip()
        if text and not text.startswith("#"):
            name = text.partition("=")[0]
            if not name or any(character.isspace() for character in name):
                raise InvalidOption(f"{option}-file", f"{file}: '{name}' is no name, in the line '{text}'")
            yield text


def _variable(option: str, text: str) -> tuple[str, str] | None:
    """``NAME=VALUE``, or a bare name for the value it has here; None for one that is not set here."""
    name, assigned, value = text.partition("=")
    if not name:
        raise InvalidOption(option, f"'{text}' has no name")
    if assigned:
        return name, value
    return (name, os.environ[name]) if name in os.environ else None


def label_of(option: str, text: str) -> tuple[str, str]:
    """``NAME`` or ``NAME=VALUE``. Raises InvalidOption."""
    name, _, value = text.partition("=")
    if not name:
        raise InvalidOption(option, f"'{text}' has no name")
    return name, value


def _with_profile(text: str) -> str:
    """A security option in which the file of a seccomp profile is replaced by its content. Raises InvalidOption."""
    name, _, value = text.partition("=")
    if name != "seccomp" or value in ("unconfined", "builtin", ""):
        return text
    try:
        return f"seccomp={Path(value).read_text()}"
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise InvalidOption(option="--security-opt", reason=f"{value}: {reason}") from error


def _number(option: str, text: str | None) -> int | None:
    if not text:
        return None
    try:
        return int(text)
    except ValueError as error:
        raise InvalidOption(option, f"'{text}' is not a whole number") from error


def _fraction(option: str, text: str | None) -> float | None:
    if not text:
        return None
    try:
        return float(text)
    except ValueError as error:
        raise InvalidOption(option, f"'{text}' is not a number") from error


def _size(option: str, text: str | None) -> int | None:
    """Bytes of docker's ``32m``, ``1.5GB`` or ``1024``; also -1, where that is a size."""
    if not text:
        return None
    if text == "-1":
        return -1
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise InvalidOption(option, f"'{text}' is not a size such as 512k, 32m or 1g")
    return int(float(match[1]) * 1024 ** " kmgtp".index(match[2].lower() or " "))
