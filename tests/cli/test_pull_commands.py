"""`pull` and `load`, as whole processes against real registries and archives."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from anyio.streams.text import TextReceiveStream

from aiodocker_lite.testing.faults import cut
from aiodocker_lite.testing.images import image, layer, noise
from aiodocker_lite.testing.messages import Reply
from aiodocker_lite.testing.registry import FakeRegistry
from tests.fakes.archives import classic, parts, tar
from tests.fakes.certificates import Authority
from tests.fakes.commands import Adl, Done, Names, command, environment, run_command
from tests.fakes.stores import flaws, layer_files

DIGEST = re.compile("Digest: sha256:[0-9a-f]{64}")


def stall_in_layer(reply: Reply) -> Reply:
    """Two of the three megabytes, and then nothing for ever."""
    return cut(2_000_000, "stall")(reply) if len(reply.body) > 2_000_000 else reply


def listed(adl: Adl) -> list[str]:
    """The names in the store."""
    return [line.split()[0] for line in adl("images").out.splitlines()[1:]]


# --- pull ----------------------------------------------------------------------------------


def test_a_pull_prints_what_docker_prints(adl: Adl, names: Names) -> None:
    """The result on standard output, where scripts look for it; everything else on standard error."""
    first = adl("pull", names.box)
    assert first.code == 0
    tag, digest, status, canonical = first.out.splitlines()
    assert tag == "Using default tag: latest"
    assert DIGEST.fullmatch(digest)
    assert status == f"Status: Downloaded newer image for {names.box}:latest"
    assert canonical == f"{names.box}:latest"
    assert f"{names.box}:latest: ready, " in first.err
    again = adl("pull", f"{names.box}:latest")
    assert again.out.splitlines() == [
        digest,
        f"Status: Image is up to date for {names.box}:latest",
        canonical,
    ]
    for by_digest in (f"{names.box}@{digest[8:]}", f"{names.box}:latest@{digest[8:]}"):
        done = adl("pull", by_digest)
        assert done.out.splitlines()[0] == digest, "a digest has no default tag"
        assert done.err.splitlines()[-1].startswith(f"{by_digest}: "), "the name that was asked for"
    quiet = adl("pull", "-q", names.box)
    assert (quiet.out, quiet.err) == (f"{names.box}:latest\n", "")


def test_several_images_are_pulled_at_once(adl: Adl, names: Names) -> None:
    """The layer that they share once; each has its lines, and naming one twice is no mistake."""
    done = adl("pull", names.box, names.other, f"{names.box}:latest")
    assert done.code == 0
    assert done.out.splitlines()[:2] == [
        f"Using default tag for {name}: latest" for name in (names.box, names.other)
    ]
    assert sorted(listed(adl)) == [f"{names.box}:latest", f"{names.other}:latest"]
    assert done.out.count("Status: Downloaded newer image") == 2
    assert "2 images ready, " in done.err


def test_one_that_fails_does_not_stop_the_others(adl: Adl, names: Names) -> None:
    """They are there, the exit code is 1, and the sentence names the one."""
    nothing = f"{names.registry.address}/cli/nothing"
    done = adl("pull", names.box, nothing, names.other)
    assert done.code == 1
    assert done.sentence == f"manifest for {nothing}:latest not found: manifest unknown"
    assert sorted(listed(adl)) == [f"{names.box}:latest", f"{names.other}:latest"]


def test_a_limit_that_is_passed_can_be_raised(adl: Adl, names: Names) -> None:
    """The error has the figure, and the hint the option."""
    done = adl("pull", "--limit", "unpacked_bytes=1K", names.box)
    assert (done.code, done.out) == (1, "Using default tag: latest\n")
    said, hint = done.err.splitlines()[-2:]
    assert re.search(r"unpacked size of layer \w+ exceeds its limit: \d+ is more than 1024$", said)
    assert hint.endswith("allow more with: --limit unpacked_bytes=…")
    assert adl("pull", "-q", "--limit", "unpacked_bytes=1T", names.box).code == 0


def test_a_platform_can_be_chosen(adl: Adl, names: Names) -> None:
    """By option or variable; one that the image is not for is refused, with what it is for."""
    assert adl("pull", "--platform", "linux/arm64", names.multi).code == 0
    (line,) = adl("images", "--format", "json").out.splitlines()
    assert json.loads(line)["Platform"] == "linux/arm64"
    refused = adl("pull", names.multi, env={"DOCKER_DEFAULT_PLATFORM": "linux/s390x"})
    assert refused.code == 1
    assert refused.sentence.startswith("no matching manifest for linux/s390x: the image is there for linux/")


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["REGISTRY/nothing"], 1, "manifest for REGISTRY/nothing:latest not found: manifest unknown"),
        (["REGISTRY/cli/box:no"], 1, "manifest for REGISTRY/cli/box:no not found: manifest unknown"),
        (["localhost:1/x"], 1, "cannot reach localhost:1: connection refused"),
        (["nobody.invalid/x"], 1, "cannot reach nobody.invalid: the host name is not known"),
        (["localhost:99999/x"], 1, "cannot reach localhost:99999: 99999 is no port, for ports end at 65535"),
        (
            ["https://a.example/x"],
            125,
            "invalid reference format: 'https://a.example/x': a name has no scheme; write a.example/x",
        ),
        (["--tls-verify", "no", "x"], 125, "invalid value for --tls-verify: it is true or false, not 'no'"),
        (
            ["--cert-dir", "/nothing", "x.invalid/x"],
            125,
            "cannot use /nothing: it cannot be read: No such file",
        ),
        (["Alpine"], 125, "invalid reference format: 'Alpine': the repository name 'Alpine' must be lower"),
        ([], 125, "Missing argument 'NAME[:TAG|@DIGEST]...'."),
        (["--nothing", "x"], 125, "No such option: --nothing"),
        (["--jobs", "0", "x"], 125, "Invalid value for '--jobs': "),
        (["--progress", "loud", "x"], 125, "invalid value for --progress: 'loud' is not one of auto, tty,"),
    ],
    ids=lambda value: " ".join(value) or "nothing" if isinstance(value, list) else "",
)
def test_what_cannot_be_pulled_is_one_sentence(
    adl: Adl, names: Names, words: list[str], code: int, sentence: str
) -> None:
    """And the exit code tells a mistake of the user from one of the world."""
    here = names.registry.address
    done = adl("pull", *(word.replace("REGISTRY", here) for word in words))
    assert done.code == code
    assert done.sentence.startswith(sentence.replace("REGISTRY", here)), done.err
    assert "Status:" not in done.out
    assert not any(line.startswith("Digest") for line in done.out.splitlines())


@pytest.mark.parametrize("options", [["--cert-dir", "DIR"], ["--tls-verify=false"], ["--insecure"], []])
async def test_a_registry_with_a_private_authority(adl: Adl, tmp_path: Path, options: list[str]) -> None:
    """On this machine too, TLS is TLS: with its authority, without checking, or not at all."""
    authority = Authority.make(tmp_path / "authority")
    directory = tmp_path / "trusted"
    directory.mkdir()
    shutil.copy(authority.certificate, directory)
    async with FakeRegistry(tls=authority.server("registry")) as fake:
        fake.add("app", "latest", image(layer({"etc/": b"", "etc/a": b"b"})))
        words = [word.replace("DIR", str(directory)) for word in options]
        done = await anyio.to_thread.run_sync(lambda: adl("pull", *words, f"{fake.address}/app"))
        if options:
            assert done.code == 0, done.err
        else:
            assert done.sentence.startswith(
                f"cannot reach {fake.address}: its certificate is of an authority"
            )


async def test_notices_and_notes_about_mirrors(adl: Adl, tmp_path: Path) -> None:
    """Who was passed over on the way, and who was asked in vain at the end; `run` has them too."""
    async with FakeRegistry() as fake, FakeRegistry() as mirror:
        fake.add("app", "latest", image(layer({"etc/": b"", "etc/a": b"b"})))
        config = tmp_path / "registries.conf"
        config.write_text(
            f'[[registry]]\nlocation="{fake.address}"\nmirror=[{{location="{mirror.address}"}}]\n'
        )
        env = {"CONTAINERS_REGISTRIES_CONF": str(config)}

        def both() -> tuple[Done, Done]:
            missing = f"{fake.address}/nothing"
            return adl("pull", f"{fake.address}/app", env=env), adl("run", missing, env=env)

        done, failed = await anyio.to_thread.run_sync(both)
    assert done.code == 0
    assert f"The mirror {mirror.address} is passed over: manifest unknown" in done.err
    assert failed.code == 125
    assert f"also asked: {mirror.address} (manifest unknown)" in failed.err


def test_progress_can_be_read_by_programs(adl: Adl, names: Names) -> None:
    """One JSON object a line on standard error, by option or variable."""
    done = adl("pull", "--progress", "json", names.box)
    events = [json.loads(line)["event"] for line in done.err.splitlines()]
    assert (events[0], events[-1]) == ("image.resolved", "image.ready")
    again = adl("pull", names.box, env={"AIODOCKER_LITE_PROGRESS": "json"})
    assert json.loads(again.err.splitlines()[-1])["fetched"] is False


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -9)]
)
async def test_a_pull_that_is_ended_by_a_signal_goes_on_next_time(
    tmp_path: Path, root: Path, number: signal.Signals, code: int
) -> None:
    """With the signal's exit code and a line about what is kept, which is not asked for again."""
    content = {"large": noise(3_000_000)}
    async with FakeRegistry() as registry:
        registry.add("app", "latest", image(layer(content, "plain")))
        registry.script("GET", "/blobs/", stall_in_layer, stall_in_layer)
        argv = command(root, "pull", "--progress", "json", f"{registry.address}/app")
        async with await anyio.open_process(argv, env=environment(tmp_path)) as process:
            assert process.stderr is not None
            assert process.stdout is not None
            text, sent = "", False
            async for chunk in TextReceiveStream(process.stderr):
                text += chunk
                if not sent and '"layer.downloaded"' in text:
                    process.send_signal(number)
                    sent = True
            assert await process.wait() == code
        said = [line for line in text.splitlines() if line.startswith("aiodocker-lite: ")]
        kept = "interrupted; what was downloaded is kept, and the same command continues there"
        assert said == ([] if number == signal.SIGKILL else [f"aiodocker-lite: {kept}"])
        registry.forget()
        done = await anyio.run_process(argv, env=environment(tmp_path), check=False)
        assert done.returncode == 0, done.stderr
        asked = [
            seen.headers["Range"] for seen in registry.asked("GET", "/blobs/") if "Range" in seen.headers
        ]
        assert asked, "it began where the other stopped"
    assert layer_files(root) == content
    assert flaws(root) == []


@pytest.mark.parametrize(
    ("when", "sentence"),
    [
        ("never", "No such image: localhost:1/app:latest"),
        ("missing", "cannot reach localhost:1: connection refused"),
        ("always", "cannot reach localhost:1: connection refused"),
        ("newer", 'invalid value for {}: \'newer\' is not one of "always", "missing" or "never"'),
        ("ALWAYS", 'invalid value for {}: \'ALWAYS\' is not one of "always", "missing" or "never"'),
    ],
)
def test_when_to_pull_is_said_in_the_same_words(adl: Adl, when: str, sentence: str) -> None:
    """`pull --policy` and `run --pull`, and they fail in the same words."""
    assert adl("pull", "--policy", when, "localhost:1/app").sentence == sentence.format("--policy")
    assert adl("run", "--pull", when, "localhost:1/app", "true").sentence == sentence.format("--pull")


_MUTE_NAMESERVER = """
import socket, subprocess, sys, time
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nameserver:
    nameserver.bind(("127.0.0.1", 53))
    pull = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    nameserver.recv(1500)
    began = time.monotonic()
    pull.send_signal(2)
    pull.communicate()
    print(pull.returncode, time.monotonic() - began)
"""


@pytest.mark.root
@pytest.mark.parametrize("verb", ["pull", "run"])
def test_nobody_waits_for_a_name_that_is_being_looked_up(tmp_path: Path, root: Path, verb: str) -> None:
    """The C library asks a nameserver that does not answer for ten seconds; an interrupted command ends at once."""
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    setup = f'ip link set lo up && mount --bind {tmp_path}/resolv.conf /etc/resolv.conf && exec "$@"'
    inside = ["unshare", "--net", "--mount", "sh", "-ec", setup, "sh", sys.executable, "-c", _MUTE_NAMESERVER]
    done = run_command([*inside, *command(root, verb, "registry.example/app")], environment(tmp_path))
    code, seconds = done.out.split()
    assert (code, float(seconds) < 3) == ("130", True), done.out


# --- load ----------------------------------------------------------------------------------


@pytest.fixture
def archive() -> bytes:
    """What `docker save` writes of an image with two names, and of one without."""
    return tar(classic((parts("one"), ["my/app:v1", "my/app:v2"]), (parts("two"), [])))


def test_an_archive_is_loaded_from_a_file_or_standard_input(adl: Adl, tmp_path: Path, archive: bytes) -> None:
    """Plain or compressed, with docker's lines; --quiet leaves exactly these."""
    (tmp_path / "saved.tar").write_bytes(archive)
    done = adl("load", "-i", str(tmp_path / "saved.tar"))
    assert done.code == 0, done.err
    first, second, third = done.out.splitlines()
    assert (first, second) == ("Loaded image: my/app:v1", "Loaded image: my/app:v2")
    assert re.fullmatch("Loaded image ID: sha256:[0-9a-f]{64}", third)
    assert "my/app:v1: ready" in done.err
    assert re.search(r"^2 images ready, \S+ loaded in ", done.err, re.MULTILINE)
    piped = adl("load", "--quiet", stdin=gzip.compress(archive))
    assert (piped.code, piped.out, piped.err) == (0, done.out, "")
    assert sorted(listed(adl)) == ["<none>", "my/app:v1", "my/app:v2"]


@pytest.mark.parametrize(
    ("words", "stdin", "code", "sentence"),
    [
        (["-i", "/nowhere/x.tar"], b"", 1, "cannot load /nowhere/x.tar: it cannot be opened: No such file"),
        ([], b"", 1, "cannot load standard input: requested load from stdin, but stdin is empty"),
        ([], b"not a tar\n" * 500, 1, "cannot load standard input: it is not a tar archive"),
        ([], tar(classic((parts("one"), [])))[:4000], 1, "cannot load standard input: it is truncated"),
        ([], tar({"file": b""}), 1, "cannot load standard input: it has neither manifest.json nor index"),
        (["saved.tar"], b"", 125, "Got unexpected extra argument(s) (saved.tar)"),
        (["--input"], b"", 125, "Option '--input' requires an argument."),
    ],
    ids=["missing", "empty", "garbage", "truncated", "tar of something", "no option", "no value"],
)
def test_what_cannot_be_loaded_is_one_sentence(
    adl: Adl, words: list[str], stdin: bytes, code: int, sentence: str
) -> None:
    """Nothing is in the store after it."""
    done = adl("load", *words, stdin=stdin)
    assert (done.code, done.out) == (code, "")
    assert done.sentence.startswith(sentence), done.err
    assert listed(adl) == []


def test_an_archive_is_not_expected_from_a_keyboard(adl: Adl) -> None:
    """Who forgot the redirection is told so."""
    terminal, keyboard = os.openpty()
    try:
        done = adl("load", stdin=keyboard)
    finally:
        os.close(terminal)
        os.close(keyboard)
    assert done.code == 125
    assert done.sentence.endswith("requested load from stdin, but stdin is a terminal")


def test_output_that_nobody_reads_ends_the_command_silently(root: Path, tmp_path: Path, names: Names) -> None:
    """As `head` does after its lines."""
    line = " ".join(command(root, "pull", "-q", names.box))
    done = subprocess.run(
        f"{line} | head -0", shell=True, capture_output=True, env=environment(tmp_path), check=False
    )
    assert (done.stdout, done.stderr) == (b"", b"")
