"""The images that are pulled: of Debian packages, or of bytes that come out the same on every machine.

What was made is kept in the work directory, with the registry that has it, for the next time.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import count, islice
from pathlib import Path, PurePosixPath

SMALL_FILES = 30_000
_PACKAGES = "", "python3-numpy,python3-pil", "git,perl-doc", "gcc,libc6-dev"
_COMPRESSORS = {"gzip": ["gzip", "-n", "-6", "-c"], "zstd": ["zstd", "-q", "-3", "-c"]}
_SEED = 1
_MTIME = 1_600_000_000


@dataclass(frozen=True)
class Image:
    """What must come out where every layer is by itself, and where they are merged: numbers of entries.

    None where that is not known, as of an image that is not ours: tools are compared with the first that succeeded.
    """

    name: str
    reference: str
    compression: str = ""
    blobs: tuple[str, ...] = ()
    compressed: int = 0
    unpacked: int = 0
    apart: int | None = None
    merged: int | None = None
    names: tuple[str, ...] = ()
    """Of several images that are one job."""


# --- layers ------------------------------------------------------------------------------------


def packages(work: Path) -> list[Path]:
    """Four layers that any Debian machine can make: a minimal system and three trees of packages."""
    layers = [work / f"debian{number}.tar" for number in range(len(_PACKAGES))]
    for layer, names in zip(layers, _PACKAGES, strict=True):
        if layer.exists():
            continue
        include = [f"--include={names}"] if names else []
        part = layer.with_suffix(".part.tar")
        words = ["mmdebstrap", "--quiet", "--variant=minbase", *include, "bookworm", "-"]
        try:
            _write(part, words)
            part.rename(layer)
        finally:
            part.unlink(missing_ok=True)
    return layers


def _write(path: Path, words: Sequence[str]) -> None:
    """What a command says, to a file; one that has mounts and temporary files to remove is given the time."""
    with path.open("wb") as file, subprocess.Popen(words, stdout=file, start_new_session=True) as process:
        try:
            process.wait()
        except KeyboardInterrupt:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()  # leaving the block does not, after an interrupt
            raise
    if process.returncode:
        raise RuntimeError(f"{' '.join(words)} failed")


def small_files(work: Path) -> list[Path]:
    """A tree as npm makes it: packages in packages, a dozen small files to a directory."""
    chance = random.Random(_SEED)
    text = _text(chance)
    with _layer(work / "small.tar") as archive:
        for name, is_directory in islice(_npm_names(chance), SMALL_FILES):
            if is_directory:
                _add(archive, name)
                continue
            size = min(int(chance.lognormvariate(7, 1.4)), len(text))
            start = chance.randrange(len(text) - size + 1)
            _add(archive, name, text[start : start + size])
    return [work / "small.tar"]


def many_layers(work: Path) -> list[Path]:
    """Sixty layers of 1 MB, twenty files in each."""
    chance = random.Random(_SEED)
    layers = [work / f"many{number}.tar" for number in range(60)]
    for number, layer in enumerate(layers):
        with _layer(layer) as archive:
            _add(archive, f"layer{number}")
            for file in range(20):
                _add(archive, f"layer{number}/{file}", _half_noise(chance, 50_000))
    return layers


def large_files(*sizes: int) -> Callable[[Path], list[Path]]:
    """Layers of so many megabytes, in files of 4 MB which compress to a half."""

    def make(work: Path) -> list[Path]:
        chance, numbers = random.Random(_SEED), count()
        layers = [work / f"files{megabytes}-{number}.tar" for number, megabytes in enumerate(sizes)]
        for layer, megabytes in zip(layers, sizes, strict=True):
            with _layer(layer) as archive:
                for number in islice(numbers, megabytes // 4):
                    if number % 64 == 0:
                        _add(archive, f"data{number // 64}")
                    _add(archive, f"data{number // 64}/{number}", _half_noise(chance, 4_000_000))
        return layers

    return make


def noise(*sizes: int) -> Callable[[Path], list[Path]]:
    """Layers of so many megabytes that do not compress: what a link shows."""

    def make(work: Path) -> list[Path]:
        chance = random.Random(_SEED)
        layers = [work / f"noise{megabytes}-{number}.tar" for number, megabytes in enumerate(sizes)]
        for layer, megabytes in zip(layers, sizes, strict=True):
            with _layer(layer) as archive:
                _add(archive, layer.stem)
                for number in range(megabytes):
                    _add(archive, f"{layer.stem}/{number}", chance.randbytes(1_000_000))
        return layers

    return make


def tiny(work: Path) -> list[Path]:
    """Debian's static busybox, 1 MB as it comes, with links for what is run."""
    with _layer(work / "tiny.tar") as archive:
        _add(archive, "bin")
        _add(archive, "bin/busybox", Path("/bin/busybox").read_bytes(), 0o755)
        for name in ("sh", "true"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname, link.mtime = tarfile.SYMTYPE, "busybox", _MTIME
            archive.addfile(link)
    return [work / "tiny.tar"]


def _layer(path: Path) -> tarfile.TarFile:
    return tarfile.open(path, "w", format=tarfile.PAX_FORMAT)


def _add(archive: tarfile.TarFile, name: str, content: bytes | None = None, mode: int = 0o644) -> None:
    """A file, or a directory where there is no content."""
    member = tarfile.TarInfo(name)
    member.mtime, member.mode = _MTIME, mode
    if content is None:
        member.type, member.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(member)
        return
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def _text(chance: random.Random) -> bytes:
    """Text of any kind, as compressible as source is."""
    words = [f"{chance.choice(('const', 'return', 'export', 'if'))} n{n};\n".encode() for n in range(4000)]
    return b"".join(chance.choices(words, k=1 << 16))


def _half_noise(chance: random.Random, size: int) -> bytes:
    noise = chance.randbytes(size // 2)
    return noise + b"all work and no play\n" * (size // 42) + bytes(size - size // 2 - 21 * (size // 42))


def _npm_names(chance: random.Random) -> Iterator[tuple[str, bool]]:
    """Paths in the order in which a walk finds them, each after its parent, and whether it is a directory."""
    named: set[str] = set()
    inside = ["app/node_modules"]
    package = 0
    while True:
        top = f"{chance.choice(inside)}/package-{package}"
        package += 1
        if chance.random() < 0.05:
            inside.append(f"{top}/node_modules")
        for directory in (top, f"{top}/lib", f"{top}/dist/cjs", f"{top}/dist/esm"):
            if directory != top and chance.random() < 0.3:
                continue
            parts = directory.split("/")
            paths = [("/".join(parts[:n]), True) for n in range(1, len(parts) + 1)]
            paths += [(f"{directory}/module-{n}.js", False) for n in range(chance.randrange(2, 20))]
            for path, is_directory in paths:
                if path not in named:
                    named.add(path)
                    yield path, is_directory


# --- images ------------------------------------------------------------------------------------

RECIPES: dict[str, tuple[Callable[[Path], list[Path]], str]] = {
    "large": (packages, "gzip"),
    "large-zstd": (packages, "zstd"),
    "small": (small_files, "gzip"),
    "many": (many_layers, "gzip"),
    "one": (large_files(1000), "gzip"),
    "tiny": (tiny, "gzip"),
    "noise": (noise(200, 50, 50), "gzip"),
    "noise-1gb": (noise(500, 300, 200), "gzip"),
    "100mb": (large_files(*[20] * 5), "gzip"),
    "huge": (large_files(*[1024] * 5), "gzip"),
}
"""How the layers of each image are made, and how they are compressed."""


def ensure(name: str, work: Path, push: Callable[[Path, str], None]) -> Image:
    """The image of a recipe: made and pushed, unless it was before."""
    if (known := known_image(work, name)) is not None:
        return known
    make, compression = RECIPES[name]
    making = work / "making"
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir()
    try:
        # Packages come from the network, so they are kept.
        layers = make(work if make is packages else making)
        image = write_layout(making / "layout", name, layers, compression)
        push(making / "layout", image.reference)
    finally:
        shutil.rmtree(making)
    (work / f"image-{name}.json").write_text(json.dumps(asdict(image)))
    return image


def known_image(work: Path, name: str) -> Image | None:
    """One that was made and pushed before."""
    known = work / f"image-{name}.json"
    if not known.exists():
        return None
    found = json.loads(known.read_text())
    return Image(**{**found, "blobs": tuple(found["blobs"]), "names": tuple(found.get("names", ()))})


def write_layout(layout: Path, name: str, layers: Sequence[Path], compression: str) -> Image:
    """An OCI layout of these layers."""
    blobs = layout / "blobs/sha256"
    blobs.mkdir(parents=True)
    diff_ids, packed = [], []
    for layer in layers:
        with layer.open("rb") as file:
            diff_ids.append(f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}")
        part = blobs / "part"
        with layer.open("rb") as source, part.open("wb") as output:
            subprocess.run(_COMPRESSORS[compression], stdin=source, stdout=output, check=True)
        kind = f"application/vnd.oci.image.layer.v1.tar+{compression}"
        packed.append(_named(part, kind))
    config = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine],
        "os": "linux",
        "config": {"Cmd": ["/bin/sh"]},
        "history": [{"created_by": "benchmarks"}] * len(layers),
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": _document(blobs, config, "application/vnd.oci.image.config.v1+json"),
        "layers": packed,
    }
    named = _document(blobs, manifest, "application/vnd.oci.image.manifest.v1+json")
    index = {"schemaVersion": 2, "manifests": [named]}
    (layout / "index.json").write_text(json.dumps(index))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    entries = [entries_of(layer) for layer in layers]
    return Image(
        name,
        f"bench/{name}:latest",
        compression,
        tuple(str(each["digest"]) for each in packed),
        sum(int(str(each["size"])) for each in packed),
        sum(layer.stat().st_size for layer in layers),
        sum(map(len, entries)),
        _merged(entries),
    )


def _document(blobs: Path, content: object, kind: str) -> dict[str, object]:
    part = blobs / "part"
    part.write_text(json.dumps(content))
    return _named(part, kind)


def _named(part: Path, kind: str) -> dict[str, object]:
    """Give a blob the name of its digest; returns its descriptor."""
    with part.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    size = part.stat().st_size
    part.rename(part.with_name(digest))
    return {"mediaType": kind, "digest": f"sha256:{digest}", "size": size}


def entries_of(layer: Path) -> dict[PurePosixPath, bool]:
    """What unpacking a layer makes, and whether it is a directory; also directories that are only parts of paths."""
    found: dict[PurePosixPath, bool] = {}
    with tarfile.open(layer) as archive:
        for member in archive:
            path = PurePosixPath(member.name)
            found |= {path: member.isdir(), **dict.fromkeys(path.parents, True)}
    del found[PurePosixPath()]
    return found


def _merged(layers: Sequence[dict[PurePosixPath, bool]]) -> int | None:
    """How many entries the layers have as one tree; None where one goes through a link of another."""
    merged = {path for layer in layers for path in layer}
    leaves = {path for layer in layers for path, is_directory in layer.items() if not is_directory}
    return len(merged) if all(leaves.isdisjoint(path.parents) for path in merged) else None
