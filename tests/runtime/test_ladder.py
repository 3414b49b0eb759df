"""The ladder: what is permitted is found by trying, and what is used instead is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiodocker_lite.runtime.ladder import Ladder, Rung, probe
from tests.runtime.conftest import Caged
from tests.store.filling import descriptors, descriptors_before


@pytest.mark.root
def test_root_has_all_namespaces_and_no_warning(as_root: None, tmp_path: Path) -> None:
    """The top of the ladder, tried without leaving anything behind."""
    before = descriptors_before()
    ladder = probe(tmp_path)
    assert (ladder.rung, ladder.overlay, ladder.warnings) == (Rung.NAMESPACES, True, ())
    assert descriptors() == before
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    assert list(tmp_path.iterdir()) == []


def test_asking_again_costs_nothing(tmp_path: Path) -> None:
    """The answer is remembered for each place."""
    assert probe(tmp_path) is probe(tmp_path)


@pytest.mark.parametrize(
    ("rung", "cgroups", "line"),
    [
        (Rung.NAMESPACES, True, "inContainer=false, hasNamespacePrivileges=true, hasCgroupAccess=true"),
        (
            Rung.USER_NAMESPACES,
            False,
            "inContainer=false, hasNamespacePrivileges=true, hasCgroupAccess=false",
        ),
        (Rung.CHROOT, True, "inContainer=false, hasNamespacePrivileges=false, hasCgroupAccess=true"),
        (Rung.NONE, False, "inContainer=false, hasNamespacePrivileges=false, hasCgroupAccess=false"),
    ],
)
def test_the_environment_line_is_the_one_users_know(rung: Rung, cgroups: bool, line: str) -> None:
    """Its exact words are what scripts look for."""
    ladder = Ladder(rung, overlay=True, in_container=False, has_cgroup_access=cgroups)
    assert ladder.environment_line == f"Environment detected: {line}"


@pytest.mark.root
@pytest.mark.parametrize(
    ("rights", "rung", "warning"),
    [
        ("ordinary-user", "user-namespaces", None),
        (
            "root-of-little",
            "user-namespaces",
            "Warning: Namespaces of the host's root are not permitted. Using a user namespace.",
        ),
        ("chroot", "chroot", "Warning: User namespaces are not permitted. Using a chroot."),
        (
            "nothing",
            "none",
            "Warning: Namespace isolation is not permitted. Executing without isolation.",
        ),
        ("one-id", "namespaces", None),
        ("one-id-chroot", "chroot", "Warning: User namespaces are not permitted. Using a chroot."),
        (
            "one-id-nothing",
            "none",
            "Warning: Namespace isolation is not permitted. Executing without isolation.",
        ),
    ],
)
def test_fewer_rights_are_a_lower_rung(caged: Caged, rights: str, rung: str, warning: str | None) -> None:
    """Rights that were really taken away lead to a lower rung, with one warning that is true, and a cause."""
    answer = caged(rights, "/bin/echo", "hello")
    assert answer.get("message") is None
    assert (answer["rung"], answer["code"], answer["out"]) == (rung, 0, "hello\n")
    assert answer["warnings"] == ([warning] if warning else [])
    if rung != "namespaces":
        assert answer["cause"].startswith("namespaces: the capability CAP_SYS_ADMIN is missing")
    if rung in ("chroot", "none"):
        assert "user-namespaces: the limit user.max_user_namespaces is reached" in answer["cause"]
    says_isolated = "hasNamespacePrivileges=true" in answer["line"]
    assert says_isolated is rung.endswith("namespaces")
