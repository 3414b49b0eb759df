"""`--trace` and `--explain`, as whole processes against real registries and archives."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import anyio
import pytest

from aiodocker_lite.testing.faults import honest, late, unanswered
from aiodocker_lite.testing.images import image, layer, noise
from aiodocker_lite.testing.registry import FakeRegistry
from tests.fakes.archives import classic, parts, tar
from tests.fakes.commands import Adl, Names, command, environment
from tests.fakes.traces import assert_they_nest


def spans_in(file: Path) -> list[dict[str, Any]]:
    """What a trace says was done."""
    document = json.loads(file.read_bytes())
    return [event for event in document["traceEvents"] if event["ph"] == "X"]


def test_a_trace_has_every_request_and_every_layer(adl: Adl, names: Names, tmp_path: Path) -> None:
    """In the order in which things are done."""
    file = tmp_path / "trace.json"
    assert adl("pull", "-q", "--trace", str(file), names.box).code == 0
    spans = spans_in(file)
    kinds = [span["name"] for span in spans]
    begins = {kind: min(s["ts"] for s in spans if s["name"] == kind) for kind in kinds}
    order = ["start-up", "resolve", "manifest", "config", "download", "request", "publish", "name"]
    assert [begins[kind] for kind in order] == sorted(begins[kind] for kind in order)
    for kind in ("download", "request", "unpack"):
        assert len({s["args"]["about"] for s in spans if s["name"] == kind}) == 2, kind
    for unpack in (s for s in spans if s["name"] == "unpack"):
        took = unpack["args"]
        stages = [
            took[f"{stage}_seconds"]
            for stage in ("wait", "blob_hash", "inflate", "hash", "core", "files", "cpu")
        ]
        assert all(0 <= seconds <= unpack["dur"] / 1e6 + 0.01 for seconds in stages)
        assert took["files_seconds"] > 0
        came = [s["args"] for s in spans if s["name"] == "request" and s["args"]["about"] == took["about"]]
        assert sum(facts["bytes"] for facts in came) == took["size"]
    assert min(s["ts"] for s in spans) == 0
    assert_they_nest(spans)
    assert [path.name for path in tmp_path.iterdir() if "trace" in path.name] == ["trace.json"]


def test_a_pull_that_fails_has_a_trace_too(adl: Adl, names: Names, tmp_path: Path) -> None:
    """Of what was done until then."""
    file = tmp_path / "trace.json"
    done = adl("pull", "--trace", str(file), "--explain", f"{names.registry.address}/none:1")
    assert done.code == 1
    assert [span["name"] for span in spans_in(file)] == ["start-up", "resolve"]
    assert "What bounded it" not in done.err


async def test_a_pull_that_is_interrupted_has_a_trace_too(root: Path, tmp_path: Path) -> None:
    """With the request that was under way."""
    file = tmp_path / "trace.json"
    async with FakeRegistry() as registry:
        registry.add("app", "latest", image(layer({"file": noise(100_000)})))
        registry.script("GET", "/blobs/", honest, unanswered("stall"))
        argv = command(root, "pull", "-q", "--trace", str(file), f"{registry.address}/app")
        async with await anyio.open_process(argv, env=environment(tmp_path)) as process:
            while not registry.asked("GET", "/blobs/")[1:]:
                await anyio.sleep(0.01)
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 130
    (request,) = (span for span in spans_in(file) if span["name"] == "request")
    assert request["args"]["bytes"] == 0


async def test_what_an_earlier_pull_left_was_not_fetched(adl: Adl, root: Path, tmp_path: Path) -> None:
    """A download's bytes are those that came, and so are the limit's."""
    file, app = tmp_path / "trace.json", image(layer({"file": noise(100_000)}))
    blob = app.layers[0]
    part = root / "ingest" / f"sha256-{blob.digest.hex}"
    part.parent.mkdir(parents=True)
    part.write_bytes(blob.raw[:60_000])
    async with FakeRegistry() as registry:
        registry.add("app", "latest", app)
        words = ["pull", "-q", "--trace", str(file), f"{registry.address}/app"]
        assert (await anyio.to_thread.run_sync(lambda: adl(*words))).code == 0
    (facts,) = (span["args"] for span in spans_in(file) if span["name"] == "download")
    assert (facts["size"], facts["bytes"]) == (len(blob.raw), len(blob.raw) - 60_000)
    assert json.loads(file.read_bytes())["otherData"]["bytes"] == len(blob.raw) - 60_000


@pytest.mark.parametrize("verb", ["pull", "load"])
def test_a_trace_that_cannot_be_written_is_refused_before_anything_is_done(
    adl: Adl, names: Names, tmp_path: Path, verb: str
) -> None:
    """One sentence, and nothing in the store."""
    words = [names.box] if verb == "pull" else ["-i", "none.tar"]
    done = adl(verb, "--trace", str(tmp_path / "no" / "trace.json"), *words)
    assert done.code == 125
    assert done.sentence.startswith("invalid value for --trace: '")
    assert done.sentence.endswith("cannot be written: its directory is not there")
    assert adl("images", "-q").out == ""


def test_a_trace_may_go_into_a_pipe(adl: Adl, names: Names) -> None:
    """What is no file is not replaced by one."""
    done = adl("pull", "-q", "--trace", "/dev/stderr", "--progress", "quiet", names.box)
    assert json.loads(done.err)["traceEvents"]


async def test_a_slow_registry_is_explained_as_the_network(adl: Adl) -> None:
    """A layer that comes late is waited for."""
    async with FakeRegistry() as registry:
        registry.add("slow", "latest", image(layer({"file": noise(400_000)})))
        registry.script("GET", "/blobs/", honest, late(4))
        words = ["pull", "-q", "--progress", "quiet", "--explain", f"{registry.address}/slow"]
        done = await anyio.to_thread.run_sync(lambda: adl(*words))
    first = done.err.splitlines()[1].split()
    assert (first[0], int(first[1]) > 50) == ("network", True), done.err


def test_a_load_is_explained_too(adl: Adl, tmp_path: Path) -> None:
    """Its bytes come out of an archive and not out of a network."""
    archive = tmp_path / "image.tar"
    archive.write_bytes(tar(classic((parts("one"), ["my/app:v1"]))))
    done = adl("load", "-q", "--progress", "quiet", "-i", str(archive), "--explain")
    told = done.err.splitlines()
    assert told[0].startswith("It took ")
    shares = [line.split() for line in told[1:] if line.startswith("  ")]
    assert 97 <= sum(int(words[-4]) for words in shares) <= 102
    assert "network" not in done.err


def test_a_trace_goes_where_a_link_leads(adl: Adl, names: Names, tmp_path: Path) -> None:
    """The link stays one: /dev/stdout is one, too."""
    target, link = tmp_path / "target.json", tmp_path / "link.json"
    link.symlink_to(target)
    for _ in range(2):
        assert adl("pull", "-q", "--trace", str(link), names.box).code == 0
        assert link.is_symlink()
        assert spans_in(target)


def test_a_trace_that_finds_no_room_is_an_error(adl: Adl, names: Names) -> None:
    """After the pull, whose image is there."""
    done = adl("pull", "-q", "--trace", "/dev/full", names.box)
    assert (done.code, done.sentence) == (
        125,
        "invalid value for --trace: '/dev/full' cannot be written: No space left on device",
    )
    assert names.box in adl("images").out
