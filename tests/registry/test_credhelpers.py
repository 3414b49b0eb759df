"""Credential helpers: real programs, good ones and all the others."""

from __future__ import annotations

import os
import shlex
import signal
import time
from pathlib import Path

import anyio
import pytest

from aiodocker_lite.errors import UnusableConfig
from aiodocker_lite.registry import credhelpers
from aiodocker_lite.registry.credentials import Credential
from aiodocker_lite.registry.credhelpers import Helper
from tests.fakes.credhelpers import Programs
from tests.fakes.processes import children

NAMED = "credsStore of a test"
SERVER = "r.example.com"


def saying(answer: str, code: int = 0) -> str:
    return f"#!/bin/sh\ncat >/dev/null\nprintf %s {shlex.quote(answer)}\nexit {code}\n"


async def test_what_is_stored_is_found_until_it_is_erased(programs: Programs) -> None:
    """The whole protocol, with secrets that would break a shell."""
    keeper = programs.add_keeper("kept")
    helper = Helper("kept", SERVER, NAMED)
    assert await helper.get() is None
    await helper.store("me", "p\"a's $(s) {s}\\ é")
    assert keeper.kept == {SERVER: ("me", "p\"a's $(s) {s}\\ é")}
    source = "docker-credential-kept (credsStore of a test)"
    assert await helper.get() == Credential("me", "p\"a's $(s) {s}\\ é", source)
    assert await helper.erase()
    assert not await helper.erase()
    assert await helper.get() is None
    assert keeper.asked == ["get", "store", "get", "list", "erase", "list", "get"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (saying('{"ServerURL":"x","Username":"<token>","Secret":"it"}'), Credential("", "", "", "it")),
        (saying('{"Username":"me","Secret":"pw","More":[1]}\n'), Credential("me", "pw", "")),
        (saying('{"Username":"","Secret":""}'), None),
        (saying("credentials not found in native keychain\n", 1), None),
        (saying("no credentials username", 1), None),
        ('#!/bin/sh\necho \'{"Username":"me","Secret":"pw"}\'\n', Credential("me", "pw", "")),
    ],
    ids=["token", "more", "empty", "not found", "no user", "not listening"],
)
async def test_answers_that_helpers_give(programs: Programs, text: str, found: Credential | None) -> None:
    """An identity token by docker's sign for one; nothing found is an error's text by the protocol."""
    programs.add("x", text)
    answer = await Helper("x", SERVER, NAMED).get()
    shown = answer and (answer.username, answer.password, answer.identity_token)
    assert shown == (found and (found.username, found.password, found.identity_token))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (saying("s3cret"), "its answer is no user name and secret"),
        (saying('["s3cret"]'), "its answer is no user name and secret"),
        (saying('{"Username":"me"}'), "its answer is no user name and secret"),
        (saying('{"Username":{},"Secret":"s3cret"}'), "its answer is no user name and secret"),
        (saying("[" * 100_000), "its answer is no user name and secret"),
        ("#!/bin/sh\nprintf '\\377\\376'", "its answer is no user name and secret"),
        (saying(""), "its answer is no user name and secret"),
        (saying("pass not initialized\nmore\n", 1), "'get' failed: pass not initialized"),
        (saying('{"Secret":"s3cret"}', 1), "'get' failed: exit code 1"),
        (saying("", 3), "'get' failed: exit code 3"),
        ("#!/bin/sh\nkill -9 $$", "'get' failed: exit code -9"),
        ("#!/bin/sh\nyes s3cret", "its answer is larger than 1048576 bytes"),
        ("#!/bin/sh\ntrap '' PIPE TERM; while :; do echo s3cret; done 2>/dev/null", "its answer is larger than"),
        ("no first line", r"it cannot be executed: Exec format error"),
        ("#!/nowhere/at/all\n", "it cannot be executed: No such file or directory"),
    ],
)  # fmt: skip
async def test_a_bad_helper_is_one_sentence_without_secrets(
    programs: Programs, text: str, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """R26: junk, floods, deaths; which helper, who named it, and nothing of what it wrote by mistake."""
    programs.add("bad", text)
    with pytest.raises(UnusableConfig, match=reason) as caught:
        await Helper("bad", SERVER, NAMED).get()
    assert str(caught.value).startswith("cannot use docker-credential-bad (credsStore of a test): ")
    assert "s3cret" not in repr([caught.value, caught.value.__context__, caught.value.__cause__])
    assert "s3cret" not in "".join(capfd.readouterr())
    assert not children()


@pytest.mark.parametrize(
    "text", ["#!/bin/sh\nexec sleep 60", "#!/bin/sh\ntrap '' TERM INT; exec sleep 60 </dev/null"]
)
async def test_a_helper_that_hangs_is_ended(
    programs: Programs, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """R26: after its time, whether it listens or not; and with the task that waits for it."""
    programs.add("slow", text)
    with anyio.move_on_after(0.3):
        await Helper("slow", SERVER, NAMED).get()
    assert not children()
    monkeypatch.setattr(credhelpers, "SECONDS", 0.3)
    begun = time.monotonic()
    with pytest.raises(UnusableConfig, match=r"it gives no answer within 0\.3 seconds"):
        await Helper("slow", SERVER, NAMED).get()
    assert time.monotonic() - begun < 5
    assert not children()


@pytest.mark.parametrize("anyio_backend", [("asyncio", {"use_uvloop": loop}) for loop in (False, True)])
async def test_a_helper_that_has_ended_is_not_waited_for_any_longer(
    programs: Programs, tmp_path: Path
) -> None:
    """An agent that it started and that kept its output open is none of ours, and goes on."""
    agent = f"sleep 60 & echo $! >{tmp_path}/agent"
    programs.add("starts", f'#!/bin/sh\n{agent}\nprintf %s \'{{"Username":"me","Secret":"pw"}}\'\n')
    with anyio.fail_after(5):
        answer = await Helper("starts", SERVER, NAMED).get()
    assert answer is not None
    assert answer.password == "pw"
    os.kill(int((tmp_path / "agent").read_text()), signal.SIGKILL)


async def test_the_secret_is_not_in_the_complaint_about_storing_it(programs: Programs) -> None:
    """R26: some programs repeat what they did not like."""
    programs.add("echo", "#!/bin/sh\nread line\nprintf 'cannot store s3cret'\nexit 1\n")
    with pytest.raises(UnusableConfig, match="'store' failed: exit code 1"):
        await Helper("echo", SERVER, NAMED).store("me", "s3cret")


@pytest.mark.parametrize("answer", ["credentials not found in native keychain", "no credentials username"])
async def test_nothing_found_is_no_way_to_store(programs: Programs, answer: str) -> None:
    """What means nothing for `get` is a failure here."""
    programs.add("x", saying(answer, 1))
    with pytest.raises(UnusableConfig, match=f"'store' failed: {answer}"):
        await Helper("x", SERVER, NAMED).store("me", "s3cret")


@pytest.mark.parametrize("anyio_backend", [("asyncio", {"use_uvloop": loop}) for loop in (False, True)])
async def test_a_helper_need_not_listen(programs: Programs) -> None:
    """A pipe that nobody reads is closed before all is said; both event loops have words of their own for it."""
    programs.add("deaf", "#!/bin/sh\nexec 0<&-\n")
    await Helper("deaf", SERVER, NAMED).store("me", "s3cret" * 100_000)


async def test_only_absolute_directories_are_searched(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkout that brings a program of this name is not asked for passwords."""
    program = programs.add("here", saying('{"Username":"me","Secret":"pw"}'))
    monkeypatch.chdir(program.parent)
    for path in ("", ".", ":/nonexistent:", "bin", "./", f"../{program.parent.name}"):
        monkeypatch.setenv("PATH", path)
        with pytest.raises(UnusableConfig, match="there is no such program on PATH"):
            await Helper("here", SERVER, NAMED).get()
    monkeypatch.setenv("PATH", f".:{program.parent}{os.pathsep}/usr/bin:/bin")
    assert await Helper("here", SERVER, NAMED).get()


async def test_nothing_secret_is_in_the_arguments_of_a_helper(programs: Programs, tmp_path: Path) -> None:
    """R26: `ps` shows the action and no more."""
    programs.add("args", f'#!/bin/sh\ncat >/dev/null\necho "$@" >{tmp_path}/args\n')
    await Helper("args", SERVER, NAMED).store("me", "s3cret")
    assert (tmp_path / "args").read_text() == "store\n"
