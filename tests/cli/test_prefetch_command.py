"""`prefetch`, as a whole process: what it prints, writes and exits with."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from aiodocker_lite.plan import Plan
from aiodocker_lite.testing.faults import cut, with_headers
from aiodocker_lite.testing.images import image, layer, noise
from aiodocker_lite.testing.registry import FakeRegistry
from tests.fakes.commands import Adl, Names, command, environment

pytest_plugins = ["aiodocker_lite.testing.fixtures"]
PLAN = "2 images, 3 layers, 1 shared, "


def test_a_dry_run_prints_the_plan_and_writes_nothing(adl: Adl, names: Names, root: Path) -> None:
    """A sentence, and a row for each image; or JSON for programs."""
    done = adl("prefetch", "--dry-run", names.box, names.other)
    assert (done.code, root.exists()) == (0, False)
    said, empty, head, box, other = done.out.splitlines()
    assert said.startswith(PLAN)
    assert " unique of " in said
    assert ", 0B already here, needs " in said
    assert (empty, head.split()) == (
        "",
        ["IMAGE", "NAME", "PLATFORM", "LAYERS", "SIZE", "TO", "FETCH", "DIGEST"],
    )
    assert (box.split()[:3], other.split()[:3]) == (
        [f"{names.box}:latest", "linux/amd64", "2"],
        [f"{names.other}:latest", "linux/amd64", "2"],
    )
    plan = Plan.from_json(json.loads(adl("prefetch", "--dry-run", "--format", "json", names.box).out))
    assert [one.name for one in plan.images] == [f"{names.box}:latest"]


def test_names_come_from_files_too(adl: Adl, names: Names, tmp_path: Path) -> None:
    """What is there is printed at the end, in the order of the plan; how it went is on standard error."""
    (tmp_path / "list").write_text(f"{names.other}\n")
    done = adl("prefetch", names.box, "-f", str(tmp_path / "list"))
    assert (done.code, done.out.splitlines()) == (0, [f"{names.box}:latest", f"{names.other}:latest"])
    lines = done.err.splitlines()
    assert lines[0].startswith(PLAN)
    assert sorted(line.split(": ready, ")[0] for line in lines[1:3]) == done.out.splitlines()
    assert lines[3].startswith("2 images ready, ")
    again = adl("prefetch", "-q", "-f", "-", stdin=f"{names.box} {names.other}".encode())
    assert (again.code, again.out, again.err) == (0, done.out, "")


@pytest.mark.parametrize("words", [[], ["-q"], ["--dry-run"]], ids=["", "quiet", "dry-run"])
def test_some_that_fail_are_named_with_their_reason(
    adl: Adl, names: Names, tmp_path: Path, words: list[str]
) -> None:
    """Once each, and the exit code is 1; the report has them too."""
    nothing = f"{names.registry.address}/cli/nothing"
    done = adl("prefetch", *words, names.box, nothing, "--report", str(tmp_path / "report"))
    assert done.code == 1
    assert (
        done.err.splitlines().count(
            f"{nothing}:latest: failed: manifest for {nothing}:latest not found: manifest unknown"
        )
        == 1
    )
    assert done.err.splitlines()[-1] == "aiodocker-lite: 1 of 2 images failed"
    report = json.loads((tmp_path / "report").read_text())
    assert [one["name"] for one in report["images"]] == [f"{names.box}:latest"]
    assert [(one["name"], one["error"]) for one in report["failures"]] == [
        (f"{nothing}:latest", "image-not-found")
    ]


def test_the_report_can_be_printed(adl: Adl, names: Names) -> None:
    """As JSON on standard output, with what came over the network; events are JSON on standard error."""
    done = adl("prefetch", "--format", "json", "--progress", "json", names.box)
    report = json.loads(done.out)
    assert report["fetched"] == sum(one["size"] for one in report["plan"]["images"][0]["layers"])
    events = [json.loads(line)["event"] for line in done.err.splitlines()]
    assert {"image.planned", "plan.ready", "image.ready", "job.progress"} <= set(events)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "invalid value for --file: there is nothing to prefetch: give names, or a file with names"),
        (["Alpine"], "invalid reference format: 'Alpine': the repository name 'Alpine' must be lower case"),
        (
            ["-f", "/nothing"],
            "invalid value for --file: '/nothing' cannot be read: No such file or directory",
        ),
        (["--format", "yaml", "x"], "invalid value for --format: 'yaml' is not json"),
        (
            ["--report", "/nothing/x", "x"],
            "invalid value for --report: '/nothing/x' cannot be written: its directory",
        ),
        (["--max-pulls", "-1", "x"], "Invalid value for '--max-pulls': "),
    ],
    ids=lambda value: " ".join(value) or "nothing" if isinstance(value, list) else "",
)
def test_what_makes_no_sense_is_one_sentence(adl: Adl, words: list[str], sentence: str) -> None:
    """And 125, before anything is asked."""
    done = adl("prefetch", *words)
    assert (done.code, done.out) == (125, "")
    assert done.sentence.startswith(sentence)


def test_the_pulls_that_are_left_are_in_the_plan(adl: Adl, fault_registry: FakeRegistry) -> None:
    """Where the registry tells them."""
    fault_registry.add("app", "latest", image(layer({"a": b"b"})))
    told = with_headers(RateLimit_Limit="100;w=21600", RateLimit_Remaining="88;w=21600")
    fault_registry.script("HEAD", "/manifests/", told)
    done = adl("prefetch", "--dry-run", f"{fault_registry.address}/app")
    assert done.out.splitlines()[0].endswith(f", 1 pull of 88 left at {fault_registry.address}")


@pytest.fixture
def stalling(fault_registry: FakeRegistry) -> list[str]:
    """Two images, one of which never ends."""
    fault_registry.add("one", "latest", image(layer({"one": b"1"})))
    endless = layer({"endless": noise(3_000_000)})
    fault_registry.add("two", "latest", image(endless))
    fault_registry.script("GET", str(endless.digest), cut(2_000_000, "stall"))
    return [f"{fault_registry.address}/{name}" for name in ("one", "two")]


def test_an_interrupted_one_can_be_continued(
    adl: Adl, root: Path, tmp_path: Path, stalling: list[str], fault_registry: FakeRegistry
) -> None:
    """130; what is there stays, and the rest is fetched from where it was."""
    words = command(root, "prefetch", *stalling)
    with subprocess.Popen(words, env=environment(tmp_path), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "one:latest: ready" in line:
                break
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
        assert process.wait() == 130
    assert said.splitlines()[-1].endswith(
        "interrupted; what was downloaded is kept, and the same command continues there"
    )
    fault_registry.forget()
    assert adl("prefetch", *stalling).code == 0
    assert len(fault_registry.asked("GET", "/blobs/")) == 1
