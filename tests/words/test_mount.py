"""Docker's three ways to say what is mounted where."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiodocker_lite.errors import InvalidOption
from aiodocker_lite.mount import Mount


@pytest.mark.parametrize(
    ("text", "mount", "kind"),
    [
        ("/a:/b", Mount("/b", "/a", create=True), "bind"),
        ("/a:/b:ro", Mount("/b", "/a", read_only=True, create=True), "bind"),
        ("/a:/b:rw,z", Mount("/b", "/a", create=True), "bind"),
        ("/a:/b:Z,ro,rprivate", Mount("/b", "/a", read_only=True, create=True), "bind"),
        ("data:/b", Mount("/b", "data"), "volume"),
        ("data:/b:ro,nocopy", Mount("/b", "data", read_only=True, options=("nocopy",)), "volume"),
        ("/b", Mount("/b", ""), "volume"),
    ],
)
def test_short_ones_are_read(text: str, mount: Mount, kind: str) -> None:
    """Source, target and mode; what is of other systems is accepted and means nothing here."""
    assert Mount.parse(text) == mount
    assert mount.kind == kind


@pytest.mark.parametrize(
    ("text", "mount"),
    [
        ("type=bind,source=/a,target=/b", Mount("/b", "/a")),
        ("type=bind,src=/a,dst=/b,ro", Mount("/b", "/a", read_only=True)),
        ("type=bind,src=/a,destination=/b,readonly=false,bind-propagation=rprivate", Mount("/b", "/a")),
        ("type=bind,src=/a,dst=/b,bind-create-src", Mount("/b", "/a", create=True)),
        ('type=bind,"src=/a,b",dst=/b', Mount("/b", "/a,b")),
        ("source=data,target=/b", Mount("/b", "data")),
        ("type=volume,target=/b", Mount("/b", "")),
        ("type=volume,src=data,dst=/b,volume-nocopy=true", Mount("/b", "data", options=("nocopy",))),
        ("type=tmpfs,dst=/b", Mount("/b")),
        ("type=tmpfs,dst=/b,tmpfs-size=64m,tmpfs-mode=1770", Mount("/b", options=("size=64m", "mode=1770"))),
    ],
)
def test_long_ones_are_read(text: str, mount: Mount) -> None:
    """Fields in any order, quoted as CSV is."""
    assert Mount.parse_long(text) == mount


def test_a_tmpfs_has_options() -> None:
    """Those of mount(8) that docker knows."""
    assert Mount.parse_tmpfs("/b") == Mount("/b")
    options = ("ro", "size=1m", "mode=700", "exec")
    assert Mount.parse_tmpfs("/b:ro,size=1m,mode=700,exec") == Mount("/b", None, True, options)


def test_a_relative_source_is_below_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As docker has it since version 23."""
    monkeypatch.chdir(tmp_path)
    assert Mount.parse("./x:/y").source == str(tmp_path / "x")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "/a:",
        ":/b",
        "/a:b",
        "/a:/",
        "/a:/.",
        "/",
        "/a:/b:wo",
        "/a:/b:ro:x",
        "n:/b",
        "a/b:/c",
        "/a:/b:rshared",
    ],
)
def test_a_bad_short_one_is_a_usage_error(text: str) -> None:
    """It says which part is wrong."""
    with pytest.raises(InvalidOption, match="--volume"):
        Mount.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "type=bind,source=/a", "type=bind,source=a,target=/b", "type=nfs,target=/b", "type=bind,src=/a,dst=/b,what=x",
        "type=bind,src=/a,dst=/b,what", "type=volume,src=/a,dst=/b", "type=tmpfs,src=/a,dst=/b",
        "type=tmpfs,dst=/b,tmpfs-size=lots", "type=bind,src=/a,dst=/b,bind-propagation=rshared",
        "type=bind,src=/a,dst=/b,bind-propagation=odd", "type=bind,src=/a,dst=/b,readonly=maybe",
        "type=volume,src=data,dst=/b,volume-driver=nfs",
    ],
)  # fmt: skip
def test_a_bad_long_one_is_a_usage_error(text: str) -> None:
    """Nothing is ignored."""
    with pytest.raises(InvalidOption, match="--mount"):
        Mount.parse_long(text)


@pytest.mark.parametrize("text", ["b", "/", "/b:size=lots", "/b:uid=x", "/b:mode=9", "/b:nonsense"])
def test_a_bad_tmpfs_is_a_usage_error(text: str) -> None:
    """An option that the kernel would refuse, too."""
    with pytest.raises(InvalidOption, match="--tmpfs"):
        Mount.parse_tmpfs(text)
