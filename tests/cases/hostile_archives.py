"""Archives of strangers: each is refused with a sentence that says what was seen, or is an image all the same.

The numbers are those of the security catalogue, A01 to A12. Every case that is refused has a
twin that is not, so that nothing is refused for a wrong reason.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.fakes.archives import OCI, Files, Layout, classic, named, parts, sha256, tar, to_json
from tests.fakes.tars import END, directory, file, hard_link, header, pax, symlink

ONE, TWO = parts("one"), parts("two", "three")
GOOD = classic((ONE, ["a:1"]))
LAYER = json.loads(GOOD["manifest.json"])[0]["Layers"][0]
CONFIG = json.loads(GOOD["manifest.json"])[0]["Config"]
DOCKER, AN_OCI = "a docker archive", "an OCI archive"


@dataclass(frozen=True)
class Case:
    """The bytes of a tar file, and a part of the sentence that refuses it; without one it is loaded."""

    name: str
    about: str
    """Its number in the catalogue."""
    content: bytes
    sentence: str = ""
    looks: str = ""
    """What the sentence says it is."""
    id: str = ONE.id
    """The image that it is if it is loaded; empty for none."""


def edited(*more: bytes, files: Files = GOOD, **changes: object) -> bytes:
    """A docker archive whose manifest.json says something else."""
    entries: list[dict[str, Any]] = json.loads(files["manifest.json"])
    entries[0].update(changes)
    return tar({**files, "manifest.json": to_json(entries)}, *more)


def manifest_json(raw: bytes) -> bytes:
    return tar({**GOOD, "manifest.json": raw})


def without(name: str, *more: bytes, files: Files = GOOD) -> bytes:
    """An archive that has something else in the place of one file."""
    return tar({path: content for path, content in files.items() if path != name}, *more)


def layout_of(change: Callable[[Layout], dict[str, Any]]) -> bytes:
    layout = Layout()
    return tar(layout.done(change(layout)))


def index_entry(**changes: object) -> bytes:
    return layout_of(lambda layout: {**layout.image(ONE), **changes})


def manifest_with(**changes: object) -> bytes:
    """An OCI archive whose manifest says something else."""

    def change(layout: Layout) -> dict[str, Any]:
        entry = layout.image(ONE)
        document = json.loads(layout.files[blob(entry["digest"])])
        return layout.blob(to_json({**document, **changes}), f"{OCI}.manifest.v1+json")

    return layout_of(change)


def config_with(diff_id: str) -> bytes:
    config = json.loads(ONE.config)
    config["rootfs"]["diff_ids"] = [diff_id]
    return edited(files={**GOOD, CONFIG: to_json(config)})


def blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def nested(depth: int) -> bytes:
    def change(layout: Layout) -> dict[str, Any]:
        entry = layout.image(ONE)
        for _ in range(depth):
            entry = layout.index(entry)
        return entry

    return layout_of(change)


def its_own_index() -> bytes:
    """No index has its own digest in it; this one has its own size, and claims the rest."""
    claimed = {"mediaType": f"{OCI}.index.v1+json", "digest": f"sha256:{'0' * 64}", "size": 0}
    for _ in range(3):
        content = to_json({"schemaVersion": 2, "mediaType": claimed["mediaType"], "manifests": [claimed]})
        claimed["size"] = len(content)
    return tar({**Layout().done(claimed), f"blobs/sha256/{'0' * 64}": content})


def sha512_layer(content: bytes) -> bytes:
    """An OCI archive whose layer has a digest of the other registered algorithm, and perhaps other content."""

    def change(layout: Layout) -> dict[str, Any]:
        described = {
            **layout.blob(ONE.layers[0], f"{OCI}.layer.v1.tar"),
            "digest": f"sha512:{hashlib.sha512(ONE.layers[0]).hexdigest()}",
        }
        layout.files[blob(described["digest"])] = content
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{OCI}.manifest.v1+json",
            "config": layout.blob(ONE.config, f"{OCI}.config.v1+json"),
            "layers": [described],
        }
        return layout.blob(to_json(manifest), f"{OCI}.manifest.v1+json")

    return layout_of(change)


def layout_files() -> Files:
    layout = Layout()
    return layout.done(named(layout.image(ONE), "a:1"))


WHOLE = layout_files()
OCI_LAYER, OCI_CONFIG = blob(f"sha256:{sha256(ONE.layers[0])}"), blob(ONE.id)
OCI_MANIFEST = next(
    path for path in WHOLE if path.startswith("blobs") and path not in (OCI_LAYER, OCI_CONFIG)
)
CHANGED = ONE.layers[0].replace(b"one", b"ONE")


def _docker_paths() -> list[Case]:
    """A01 and A02: what manifest.json may lead to."""
    out = "leads outside of it"
    return [
        Case("config-below-nothing", "A01", edited(file(b"../x.json", ONE.config), Config="../x.json"), out, DOCKER),
        Case("config-absolute", "A01", edited(file(b"/x.json", ONE.config), Config="/x.json"), out, DOCKER),
        Case("config-with-nul", "A01", edited(Config=CONFIG + "\0"), out, DOCKER),
        Case("config-is-the-top", "A01", edited(Config="."), "'.' is missing", DOCKER),
        Case("config-with-dots-inside", "A01", edited(Config=f"x/.././{CONFIG}")),
        Case("config-of-another-name", "A01", edited(file(b"0" * 64 + b".json", ONE.config), Config="0" * 64 + ".json")),
        Case("layer-id-with-dots", "A01", edited(file(b"../l/layer.tar", ONE.layers[0]), Layers=["../l/layer.tar"]), out, DOCKER),
        Case("member-that-leaves", "A01", edited(file(b"../../etc/cron.d/x", b"* * * * * root id"))),
        Case("layer-is-a-directory", "A02", edited(directory(b"l/"), Layers=["l"]), "'l' is a directory, not a file", DOCKER),
        Case("layer-is-a-fifo", "A02", edited(header(b"l", b"6"), Layers=["l"]), "'l' is a FIFO, not a file", DOCKER),
        Case("layer-is-a-device", "A02", edited(header(b"l", b"3", device=(1, 5)), Layers=["l"]), "'l' is a device, not a file", DOCKER),
        Case("layer-below-a-file", "A02", edited(Layers=[f"{LAYER}/x"]), f"'{LAYER}/x' is missing", DOCKER),
        Case("layer-is-a-contiguous-file", "A02", without(LAYER, header(LAYER.encode(), b"7", size=len(ONE.layers[0])) + ONE.layers[0])),
        Case("config-is-a-link-outside", "A02", edited(symlink(b"c", b"/etc/passwd"), Config="c"), "'c' is a link to '/etc/passwd', outside of it", DOCKER),
        Case("config-is-a-link-inside", "A02", edited(symlink(b"c", CONFIG.encode()), Config="c")),
        Case("manifest-is-a-link-outside", "A02", without("manifest.json", symlink(b"manifest.json", b"../manifest.json")), "outside of it", DOCKER),
        Case("manifest-is-a-directory", "A02", without("manifest.json", directory(b"manifest.json/")), "'manifest.json' is a directory, not a file", DOCKER),
        Case("manifest-is-a-link-inside", "A02", without("manifest.json", file(b"m", GOOD["manifest.json"]), symlink(b"manifest.json", b"m"))),
    ]  # fmt: skip


def _docker_links() -> list[Case]:
    """A03 and A04: equal layers, as old `docker save` and podman wrote them."""
    real = LAYER.encode()
    return [
        Case("symlink-to-a-layer", "A03", edited(symlink(b"l/layer.tar", b"../" + real), Layers=["l/layer.tar"])),
        Case("symlink-before-its-target", "A03", tar({}, symlink(b"l", real), file(b"manifest.json", json.dumps(
            [{"Config": CONFIG, "Layers": ["l"]}]).encode()), file(CONFIG.encode(), ONE.config), file(real, ONE.layers[0]))),
        Case("symlink-of-two-hops", "A03", edited(symlink(b"l", b"m"), symlink(b"m", real), Layers=["l"]), "'l' is a link to another link, 'm'", DOCKER),
        Case("symlink-to-itself", "A03", edited(symlink(b"l", b"l"), Layers=["l"]), "'l' is a link to another link, 'l'", DOCKER),
        Case("symlink-to-nothing", "A03", edited(symlink(b"l", b"gone"), Layers=["l"]), "'l' is a link to 'gone', which is missing", DOCKER),
        Case("symlink-to-etc", "A03", edited(symlink(b"l", b"/etc/shadow"), Layers=["l"]), "'l' is a link to '/etc/shadow', outside of it", DOCKER),
        Case("symlink-upwards", "A03", edited(symlink(b"l/layer.tar", b"../../" + real), Layers=["l/layer.tar"]), "outside of it", DOCKER),
        Case("symlink-in-the-way", "A03", edited(symlink(b"l", real[:64]), Layers=["l/layer.tar"]), "'l/layer.tar' is missing", DOCKER),
        Case("hard-link-to-a-layer", "A04", edited(hard_link(b"l/layer.tar", real), Layers=["l/layer.tar"])),
        Case("hard-link-to-etc", "A04", edited(hard_link(b"l", b"/etc/shadow"), Layers=["l"]), "outside of it", DOCKER),
        Case("hard-link-upwards", "A04", edited(hard_link(b"l/m", b"../l"), Layers=["l/m"]), "'l/m' is a link to '../l', outside of it", DOCKER),
        Case("hard-link-to-nothing", "A04", edited(hard_link(b"l", b"gone"), Layers=["l"]), "which is missing", DOCKER),
        Case("hard-link-to-a-directory", "A04", edited(directory(b"d/"), hard_link(b"l", b"d"), Layers=["l"]), "'l' is a directory", DOCKER),
    ]  # fmt: skip


def _docker_documents() -> list[Case]:
    """A05 to A08: manifest.json itself, what lies beside it, and what stands twice."""
    mib = 1 << 20
    filled = GOOD["manifest.json"].ljust(mib)
    twice = f'[{{"Config":"{CONFIG}","Config":"{CONFIG}","Layers":[]}}]'.encode()
    two = to_json([*json.loads(GOOD["manifest.json"]), *json.loads(classic((TWO, ["b:1"]))["manifest.json"])])
    repositories = b'{"../../etc":{"../x":"../../etc/passwd"},"a":{"1":"' + b"0" * 64 + b'"}}'
    return [
        Case("manifest-null", "A05", manifest_json(b"null"), "its manifest.json is null", DOCKER),
        Case("manifest-empty-list", "A05", manifest_json(b"[]"), id=""),
        Case("manifest-empty", "A05", manifest_json(b""), "its manifest.json is not JSON", DOCKER),
        Case("manifest-of-a-registry", "A05", manifest_json(b'{"schemaVersion":2,"config":{},"layers":[]}'), "one image's manifest, as skopeo's dir:", DOCKER),
        Case("manifest-largest", "A05", manifest_json(filled)),
        Case("manifest-one-byte-more", "A05", manifest_json(filled + b" "), f"its manifest.json has {mib + 1} bytes, which is more than {mib}", DOCKER),
        Case("manifest-of-a-terabyte", "A05", without("manifest.json", pax({b"size": b"%d" % (1 << 40)}), header(b"manifest.json")), "it is truncated: 'manifest.json' has 1099511627776 bytes"),
        Case("manifest-deep", "A05", manifest_json(b"[" * 100_000 + b"]" * 100_000), "nested too deep", DOCKER),
        Case("manifest-with-a-key-twice", "A05", manifest_json(twice), "a key stands twice", DOCKER),
        Case("manifest-with-a-mark", "A05", manifest_json(b"\xef\xbb\xbf" + GOOD["manifest.json"]), "is not JSON (Unexpected UTF-8 BOM", DOCKER),
        Case("manifest-in-latin-1", "A05", manifest_json(b'[{"Config":"\xe9"}]'), "is not JSON ('utf-8' codec", DOCKER),
        Case("manifest-of-numbers", "A05", manifest_json(b"[1e999, NaN]"), "is not a list of objects", DOCKER),
        Case("manifest-with-large-number", "A05", manifest_json(b"[" + b"9" * 10_000 + b"]"), "its manifest.json is not", DOCKER),
        Case("manifest-twice", "A05", tar(GOOD, file(b"manifest.json", b"[]")), "it has 'manifest.json' more than once", DOCKER),
        Case("manifest-twice-in-disguise", "A05", tar(GOOD, file(b"./x/..//manifest.json", b"[]")), "it has 'manifest.json' more than once", DOCKER),
        Case("two-images", "A05", tar({**GOOD, **classic((TWO, [])), "manifest.json": two})),
        Case("repositories-alone", "A06", tar({"repositories": repositories, "0/layer.tar": ONE.layers[0]}), "it was saved by Docker before 1.10"),
        Case("repositories-beside", "A06", tar({**GOOD, "repositories": repositories})),
        Case("repositories-is-a-device", "A06", tar(GOOD, header(b"repositories", b"3"))),
        Case("tag-that-leaves", "A06", edited(RepoTags=["../../etc:1"]), "its manifest.json has the tag '../../etc:1'", DOCKER),
        Case("tag-that-moves-the-cursor", "A07", edited(RepoTags=["\x1b[2Ja:1"]), r"has the tag '\x1b[2Ja:1'", DOCKER),
        Case("layer-twice-last-is-wrong", "A08", edited(file(LAYER.encode(), CHANGED)), f"layer {LAYER} in ", DOCKER),
        Case("layer-twice-last-is-right", "A08", tar({}, file(LAYER.encode(), CHANGED), *(file(name.encode(), content) for name, content in GOOD.items()))),
        Case("config-twice", "A08", tar(GOOD, file(CONFIG.encode(), ONE.config)), f"it has '{CONFIG}' more than once", DOCKER),
        Case("layer-is-another", "A08", tar({**GOOD, LAYER: CHANGED}), "has the wrong content", DOCKER),
    ]  # fmt: skip


def _layouts() -> list[Case]:
    """A09 and A10: indexes, versions, links, and blobs that are not what they are called."""
    leaves = symlink(OCI_LAYER.encode(), b"../../../../etc/shadow")
    return [
        Case("index-4-deep", "A09", nested(4)),
        Case("index-10-deep", "A09", nested(10), "its indexes are nested more than 4 deep", AN_OCI),
        Case("index-of-itself", "A09", its_own_index(), "has the wrong content", AN_OCI),
        Case("index-twice", "A09", tar(WHOLE, file(b"index.json", b"{}")), "it has 'index.json' more than once", AN_OCI),
        Case("index-is-a-link-outside", "A09", without("index.json", symlink(b"index.json", b"/index.json"), files=WHOLE), "outside of it", AN_OCI),
        Case("layout-2", "A09", tar({**WHOLE, "oci-layout": b'{"imageLayoutVersion":"2.0.0"}'}), "its image layout version is '2.0.0'", AN_OCI),
        Case("layout-1.1", "A09", tar({**WHOLE, "oci-layout": b'{"imageLayoutVersion":"1.1.0"}'})),
        Case("layout-missing", "A09", without("oci-layout", files=WHOLE)),
        Case("blob-is-a-link-inside", "A09", without(OCI_LAYER, file(b"r", ONE.layers[0]), symlink(OCI_LAYER.encode(), b"../../r"), files=WHOLE)),
        Case("blob-is-a-link-outside", "A09", without(OCI_LAYER, leaves, files=WHOLE), "outside of it", AN_OCI),
        Case("blob-is-an-absolute-link", "A09", without(OCI_CONFIG, symlink(OCI_CONFIG.encode(), b"/etc/hostname"), files=WHOLE), "outside of it", AN_OCI),
        Case("blob-is-a-directory", "A09", without(OCI_LAYER, directory(OCI_LAYER.encode() + b"/"), files=WHOLE), "is a directory, not a file", AN_OCI),
        Case("blobs-that-nobody-needs", "A10", tar({**WHOLE, "blobs/sha256/x": b"x", f"blobs/sha256/{'1' * 64}": b"y"})),
        Case("blob-missing", "A10", without(OCI_LAYER, files=WHOLE), f"'{OCI_LAYER}' is missing", AN_OCI),
        Case("manifest-is-another", "A10", tar({**WHOLE, OCI_MANIFEST: WHOLE[OCI_MANIFEST].replace(b"2", b"3", 1)}), "has the wrong content", AN_OCI),
        Case("config-is-another", "A10", tar({**WHOLE, OCI_CONFIG: ONE.config.replace(b"linux", b"LINUX")}), "has the wrong content", AN_OCI),
        Case("layer-blob-is-another", "A10", tar({**WHOLE, OCI_LAYER: CHANGED}), "has the wrong content", AN_OCI),
        Case("layer-is-longer", "A10", tar({**WHOLE, OCI_LAYER: ONE.layers[0] + END}), "has the wrong size", AN_OCI),
        Case("config-is-shorter", "A10", tar({**WHOLE, OCI_CONFIG: ONE.config[:-1]}), "has the wrong size", AN_OCI),
        Case("size-of-the-manifest", "A10", index_entry(size=1), "has the wrong size", AN_OCI),
    ]  # fmt: skip


def _orders_and_digests() -> list[Case]:
    """A11 and A12: what comes first, and what is a digest."""
    first = {"manifest.json": GOOD["manifest.json"], **GOOD}
    bad = "is not a digest"
    a64, upper = "a" * 64, sha256(ONE.layers[0]).upper()
    layer = {"mediaType": f"{OCI}.layer.v1.tar", "size": len(ONE.layers[0])}
    config = {"mediaType": f"{OCI}.config.v1+json", "size": len(ONE.config)}
    return [
        Case("manifest-first", "A11", tar(first)),
        Case("manifest-last", "A11", tar(dict(reversed(first.items())))),
        Case("sha512", "A12", sha512_layer(ONE.layers[0])),
        Case("sha512-of-another", "A12", sha512_layer(CHANGED), "has the wrong content", AN_OCI),
        Case("sha512-too-short", "A12", index_entry(digest=f"sha512:{a64}"), bad, AN_OCI),
        Case("digest-in-capitals", "A12", index_entry(digest=f"sha256:{a64.upper()}"), bad, AN_OCI),
        Case("digest-of-63", "A12", index_entry(digest=f"sha256:{a64[1:]}"), bad, AN_OCI),
        Case("digest-and-a-newline", "A12", index_entry(digest=f"sha256:{a64}\n"), bad, AN_OCI),
        Case("digest-without-algorithm", "A12", index_entry(digest=a64), bad, AN_OCI),
        Case("digest-of-another-algorithm", "A12", index_entry(digest=f"blake3:{a64}"), bad, AN_OCI),
        Case("digest-that-leaves", "A12", index_entry(digest="sha256:../../etc/passwd"), bad, AN_OCI),
        Case("digest-of-a-layer-that-leaves", "A12", manifest_with(layers=[{**layer, "digest": "sha256:../../../x"}]), bad, AN_OCI),
        Case("digest-of-a-config-that-leaves", "A12", manifest_with(config={**config, "digest": "sha256:.."}), bad, AN_OCI),
        Case("digest-in-fullwidth-digits", "A12", manifest_with(layers=[{**layer, "digest": "sha256:" + "\uff11" * 64}]), bad, AN_OCI),
        Case("diff-id-in-capitals", "A12", config_with(f"sha256:{upper}"), bad, DOCKER),
        Case("diff-id-that-leaves", "A12", config_with("sha256:../../../etc"), bad, DOCKER),
        Case("blob-path-in-capitals", "A12", edited(file(f"blobs/sha256/{upper}".encode(), ONE.layers[0]), Layers=[f"blobs/sha256/{upper}"]), bad, DOCKER),
    ]  # fmt: skip


def hostile_archives() -> list[Case]:
    """All of them."""
    return [*_docker_paths(), *_docker_links(), *_docker_documents(), *_layouts(), *_orders_and_digests()]
