"""What cannot be measured as it was asked for is refused before anything is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.options import Parser, add_run_options


def parser() -> Parser:
    """Of `run`."""
    made = Parser(prog="run")
    add_run_options(made)
    return made


WRONG = {
    "--json=/proc/none.json": "cannot be written",
    "--json=/dev/null": "no regular file",
    "--json=none/runs.json": "cannot be written: No such file or directory",
    "--work=/etc/passwd/here": "'/etc/passwd' is no directory",
    "--runs=0": "'0' is no number from 1 on",
    "--runs=many": "'many' is no number from 1 on",
    "--link=fast": "'fast' is not a number of gbit, mbit, ms or %",
    "--images=tiny,grand": "'grand' is none of large, ",
    "--peers=dokcer": "'dokcer' is none of aiodocker-lite, ",
    "--rootfs=none.tar": "there is no file 'none.tar'",
}


@pytest.mark.parametrize("option", WRONG)
def test_a_wrong_option_is_one_sentence(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which names the option, says what is wrong with it, and leaves nothing."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        parser().parse_args([option])
    (sentence,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    assert sentence.startswith(f"run: argument {option.partition('=')[0]}: ")
    assert WRONG[option] in sentence
    assert not list(tmp_path.iterdir())


def test_links_may_be_several_and_one_of_them_none(tmp_path: Path) -> None:
    """And a file that is looked at is not made."""
    words = ["--link=unshaped", "--link=100mbit,20ms", f"--json={tmp_path}/runs.json"]
    found = parser().parse_args(words)
    assert [str(link) for link in found.link] == ["None", "100mbit,20ms"]
    assert found.json == tmp_path / "runs.json"
    assert not list(tmp_path.iterdir())
