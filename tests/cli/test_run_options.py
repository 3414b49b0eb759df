"""Options of `run` in docker's spellings, as a whole process; and volumes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.fakes.commands import Adl, Names


def test_variables_come_from_files_too(box: Adl, names: Names, tmp_path: Path) -> None:
    """Comments and empty lines mean nothing, a bare name is the caller's, `-e` comes last."""
    (tmp_path / "env").write_text("# no\n\n  A=1 2=3\nHERE\nNOT_SET\nB=file\n", encoding="utf-8-sig")
    done = box(
        *("run", "--rm", "-q", "--env-file", str(tmp_path / "env"), "-e", "B=given", names.box),
        *("sh", "-c", 'echo "$A|$HERE|${NOT_SET-none}|$B"'),
        env={"HERE": "here"},
    )
    assert done.out == "1 2=3|here|none|given\n"


def test_the_id_goes_into_a_file(box: Adl, names: Names, tmp_path: Path) -> None:
    """A new one; and none is left by what did not start."""
    file = tmp_path / "cid"
    assert box("run", "--rm", f"--cidfile={file}", names.box, "true").code == 0
    assert re.fullmatch("[0-9a-f]{64}", file.read_text())
    again = box("run", "--rm", "--cidfile", str(file), names.box, "true")
    assert again.code == 125
    assert "container ID file found" in again.sentence
    assert box("run", "--rm", "--cidfile", str(tmp_path / "other"), names.box, "nothing").code == 127
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("words", "out"),
    [
        ("--init --read-only=false BOX sh -c 'exit 0'", ""),
        ("-ie A=1 --init=true --group-add 5 -h box BOX sh -c hostname", "box\n"),
        ("--tmpfs /t:size=64k --mount type=tmpfs,dst=/u BOX sh -c pwd", "/\n"),
        ("-lA=1 --label B --stop-timeout 3 --stop-signal INT --domainname d BOX sh -c pwd", "/\n"),
        ("--cpus= --memory= --pids-limit -1 --memory-swap= --pid= --ipc= --uts= BOX sh -c pwd", "/\n"),
        ("--ulimit nofile=50 --shm-size 64M --cap-drop ALL --security-opt no-new-privileges BOX sh -c 'ulimit -n'", "50\n"),
        ("--read-only --workdir /tmp BOX sh -c pwd --read-only -m 5", "/tmp\n"),
    ],
)  # fmt: skip
def test_spellings_are_dockers(box: Adl, names: Names, words: str, out: str) -> None:
    """Joined, with an equals sign, with a truth, empty; and after the image they are the command's."""
    argv = [a or b for a, b in re.findall(r"'([^']*)'|(\S+)", words.replace("BOX", names.box))]
    done = box("run", "--rm", "-q", *argv)
    assert (done.code, done.out, done.err) == (0, out, "")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--memory lots", "--memory: 'lots' is not a size such as 512k, 32m or 1g"),
        ("-m 1k", "--memory: the least that can be had is 6 MB"),
        ("--cpus many", "--cpus: 'many' is not a number"),
        ("--pids-limit x", "--pids-limit: 'x' is not a whole number"),
        ("--env-file /no/such", "--env-file: /no/such: No such file or directory"),
        ("--label =x", "--label: '=x' has no name"),
        ("--security-opt seccomp=/no/such", "--security-opt: /no/such: No such file or directory"),
        ("--security-opt apparmor=x", "--security-opt: 'apparmor=x' cannot be done here"),
        ("--cap-add NOPE", "--cap-add: there is no capability 'NOPE'"),
        ("--pid host", "--pid: a container cannot have 'host'"),
        ("--mount type=nfs,dst=/x", "--mount: the type 'nfs' is none of bind, volume and tmpfs"),
        ("--tmpfs /x:odd", "--tmpfs: unknown option 'odd' in '/x:odd'"),
        ("--stop-signal NOPE", "--stop-signal: there is no signal 'NOPE'"),
        ("--sysctl net.ipv4.ip_forward=1", "--sysctl: 'net.ipv4.ip_forward' would change the host"),
        ("-a stdin", "--attach: without stdout or stderr nothing would be seen"),
        ("-t -a stderr", "--attach: without stdout of a terminal nothing would be seen"),
        ("-d -a stdout", "--attach: conflicting options: cannot specify both --attach and --detach"),
        ("-a nothing", "--attach: 'nothing' is none of stdin, stdout, stderr"),
        ("--sig-proxy=false", "--sig-proxy: it cannot be switched off here"),
        ("--userns keep-id", "--userns: 'keep-id' cannot be had"),
        ("--log-driver syslog", "--log-driver: 'syslog' is none of json-file, local and none"),
        ("-d --log-driver none", "--log-driver: the output of what is detached is always kept"),
        ("--init=perhaps", "--init: 'perhaps' is neither true nor false"),
    ],
)
def test_what_cannot_be_understood_is_refused(box: Adl, names: Names, words: str, sentence: str) -> None:
    """125 and one sentence; nothing has run."""
    done = box("run", "--rm", *words.split(), names.box, "true")
    assert done.code == 125
    assert done.sentence.startswith(f"invalid value for {sentence}"), done.err


def test_a_missing_source_is_made_for_v_and_refused_for_mount(box: Adl, names: Names, tmp_path: Path) -> None:
    """As docker does, with its two options."""
    made = tmp_path / "new" / "dir"
    assert box("run", "--rm", "-v", f"{made}:/d", names.box, "sh", "-c", "echo x > /d/x").code == 0
    assert (made / "x").read_text() == "x\n"
    done = box("run", "--rm", "--mount", f"type=bind,src={tmp_path}/gone,dst=/d", names.box, "true")
    assert done.code == 125
    assert done.sentence.endswith(f"the source {tmp_path}/gone does not exist")


def test_a_volume_outlives_its_containers(own_box: Adl, names: Names) -> None:
    """It begins with what the image has there, is seen by the next, and goes when nobody has it."""
    first = own_box(
        *(
            "run",
            "--rm",
            "-q",
            "-v",
            "data:/etc",
            names.box,
            "sh",
            "-c",
            "cat /etc/note; echo more > /etc/mine",
        )
    )
    assert (first.code, first.out) == (0, "a note\n")
    second = own_box(
        *("run", "-q", "--name", "kept", "--mount", "source=data,target=/d,ro", names.box),
        *("sh", "-c", "cat /d/note /d/mine; echo x > /d/y"),
    )
    assert (second.code, second.out) == (1, "a note\nmore\n")
    assert own_box("volume", "ls").out == "DRIVER   VOLUME NAME\nlocal    data\n"
    used = own_box("volume", "rm", "data", "nothing")
    assert (used.code, used.out) == (1, "")
    assert re.match("cannot remove volume data: it is in use by [0-9a-f]{12}", used.sentence)
    assert own_box("rm", "kept").code == 0
    assert own_box("volume", "create", "other", "--label", "a=b").out == "other\n"
    (other,) = json.loads(own_box("volume", "inspect", "other").out)
    assert (other["Name"], other["Labels"], other["Driver"]) == ("other", {"a": "b"}, "local")
    assert own_box("volume", "rm", "data").out == "data\n"
    assert own_box("volume", "prune", "-a", "-f").out == "Deleted Volumes:\nother\n"
    assert own_box("volume", "ls", "-q").out == ""
    assert own_box("volume", "rm", "-f", "other").code == 0


def test_a_volume_without_a_name_goes_with_its_container(own_box: Adl, names: Names, root: Path) -> None:
    """It can be written where the root cannot."""
    done = own_box(
        *("run", "--name", "kept", "-q", "--read-only", "-v", "/etc", names.box),
        *("sh", "-c", "echo x > /etc/x && cat /etc/note"),
    )
    assert (done.code, done.out) == (0, "a note\n")
    assert own_box("volume", "ls", "-q").out == ""
    assert own_box("rm", "kept").code == 0
    assert list((root / "containers").iterdir()) == []
