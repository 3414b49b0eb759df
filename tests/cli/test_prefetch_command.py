"""`prefetch`, as a whole process: what it prints, writes and exits with."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest
import yaml

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
    again = adl("prefetch", "-q", "-f", "-", stdin=f"{names.box}\n{names.other}".encode())
    assert (again.code, again.out, again.err) == (0, done.out, "")


def test_a_compose_file_is_a_source(adl: Adl, names: Names, tmp_path: Path) -> None:
    """With its variables and platforms; what it leaves out is said."""
    file = tmp_path / "compose.yaml"
    file.write_text(
        f"services:\n  a: {{image: '{names.box}:${{TAG:-none}}'}}\n  b: {{build: .}}\n"
        f"  c: {{image: '{names.multi}', platform: linux/arm64, profiles: [all]}}\n"
    )
    (tmp_path / "vars").write_text("TAG=latest\n")
    done = adl("prefetch", "-f", str(file), "--env-file", str(tmp_path / "vars"), "--profile", "all")
    assert (done.code, done.out.splitlines()) == (0, [f"{names.box}:latest", f"{names.multi}:latest"])
    assert f"{file}: services.b is built, and names no image" in done.err


def test_a_lock_pins_what_names_led_to(
    adl: Adl, fault_registry: FakeRegistry, root: Path, tmp_path: Path
) -> None:
    """Until it is written anew, which says what that costs; the image has its name, and not a digest."""
    shared, old, new = (layer({name: noise(size)}) for name, size in (("s", 1000), ("o", 2000), ("n", 3000)))
    fault_registry.add("app", "latest", image(shared, old))
    name, lock = f"{fault_registry.address}/app", tmp_path / "images.lock"
    assert adl("prefetch", "-q", "--lock", str(lock), name).code == 0
    first, before = lock.read_text(), inspected(adl, name)
    later = image(shared, new)
    fault_registry.add("app", "latest", later)

    told = adl("prefetch", "--dry-run", "--lock", str(lock), name).err
    assert f" is now {later.top.digest.hex[:12]}, " in told
    assert f"{lock}: 1 image changed, {len(new.raw) / 1000:.3g}kB of new layers" in told
    assert lock.read_text() == first
    assert adl("prefetch", "-q", name).code == 0
    assert inspected(adl, name) != before

    fault_registry.forget()
    done = adl("prefetch", "--locked", str(lock))
    assert (done.code, done.out) == (0, f"{name}:latest\n")
    assert inspected(adl, name) == before
    assert not fault_registry.asked("HEAD", "/manifests/latest")
    refused = adl("prefetch", "--locked", str(lock), name, "alpine")
    assert refused.code == 125
    assert f"{lock} does not have alpine:latest; --lock {lock} adds it" in refused.err

    assert adl("prefetch", "-q", "--lock", str(lock), name).code == 0
    assert lock.read_text() != first
    failed = adl("prefetch", "-q", "--lock", str(lock), name, f"{fault_registry.address}/nothing")
    assert failed.code == 1
    assert f"{lock} is not written, for not all images could be had" in failed.err


def inspected(adl: Adl, name: str) -> str:
    """What a name leads to here."""
    return adl("inspect", "-f", "{{.Id}}", name).out


def test_nodes_can_be_told_instead(adl: Adl, names: Names, root: Path, tmp_path: Path) -> None:
    """As manifests for Kubernetes and files for containerd, at digests; nothing is brought here."""
    done = adl("prefetch", "--emit", "daemonset", names.box)
    (pod,) = list(yaml.safe_load_all(done.out))
    images = [one["image"] for one in pod["spec"]["template"]["spec"]["initContainers"]]
    assert [one.split("@sha256:")[0] for one in images[1:]] == [names.box]
    hosts = tmp_path / "hosts"
    words = ("--emit", "containerd-hosts", "--mirror", "http://10.0.0.1:5000", "-o", str(hosts))
    assert adl("prefetch", *words, names.box, names.other).code == 0
    (file,) = hosts.glob("*/hosts.toml")
    assert '[host."http://10.0.0.1:5000"]' in file.read_text()
    assert not root.exists()


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
        (
            [],
            "invalid value for --file: there is nothing to prefetch: no names are given, nor are some in a file",
        ),
        (["Alpine"], "invalid reference format: 'Alpine': the repository name 'Alpine' must be lower case"),
        (
            ["-f", "/nothing"],
            "/nothing: No such file or directory",
        ),
        (["--format", "yaml", "x"], "invalid value for --format: 'yaml' is not json"),
        (
            ["--report", "/nothing/x", "x"],
            "invalid value for --report: '/nothing/x' cannot be written: its directory",
        ),
        (
            ["--lock", "a", "--locked", "b", "x"],
            "invalid value for --locked: it takes a lock as it is, and --lock",
        ),
        (["--locked", "/nothing"], "invalid value for --locked: '/nothing' cannot be read: No such file"),
        (["--emit", "helm", "x"], "invalid value for --emit: 'helm' is none of daemonset, kruise, "),
        (["--emit", "containerd-hosts", "x"], "invalid value for --emit: containerd-hosts needs --mirror, "),
        (["--build-arg", "=", "x"], "invalid value for --build-arg: '=' is not NAME=VALUE"),
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
