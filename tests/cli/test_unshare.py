"""`unshare` is the command that it runs: its output, its exit code, its signals."""

from __future__ import annotations

from pathlib import Path

from tests.fakes.commands import Adl


def test_a_command_runs_as_it_is_without_subordinate_ids(adl: Adl, root: Path) -> None:
    """Options after it are its own, broken pipes end it, and no store is made."""
    done = adl("unshare", "sh", "-c", "yes | head -n 1; grep SigIgn /proc/self/status; exit 3")
    assert (done.code, done.out.split(), done.err) == (3, ["y", "SigIgn:", "0" * 16], "")
    assert not root.exists()


def test_a_missing_command_is_one_sentence(adl: Adl) -> None:
    """With the exit code that shells have for it."""
    done = adl("unshare", "no-such-command")
    assert (done.code, done.sentence) == (127, 'exec: "no-such-command": executable file not found in $PATH')
