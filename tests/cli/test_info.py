"""`info` and `doctor`."""

from __future__ import annotations

import json
from pathlib import Path

from aiodocker_lite import __version__
from tests.fakes.commands import Adl


def test_info_has_facts_for_people_and_programs(adl: Adl, root: Path) -> None:
    """Docker's names, by a template and as JSON; nothing is made by asking."""
    done = adl("info")
    assert done.code == 0
    assert {f"Version: {__version__}", f"Store: {root}", "Default Runtime: native"} <= set(
        done.out.splitlines()
    )
    assert (
        adl("info", "--format", "{{.DefaultRuntime}} {{.Runtimes.native.version}}").out
        == f"native {__version__}\n"
    )
    facts = json.loads(adl("info", "-f", "json").out)
    assert facts["DockerRootDir"] == str(root)
    assert facts["Networks"][:2] == ["host", "none"]
    assert not root.exists()


def test_a_template_with_no_such_fact_is_a_usage_error(adl: Adl) -> None:
    """As of any template."""
    assert adl("info", "--format", "{{.Nope}}").code == 125


def test_doctor_ends_with_what_it_says(adl: Adl) -> None:
    """0 and one sentence, or 1 and for each finding what is missing, what it affects, and the command."""
    done = adl("doctor")
    if done.code == 0:
        assert done.out == "Nothing is missing.\n"
    else:
        assert done.code == 1
        assert (
            done.out.count("missing: ") == done.out.count("  affects: ") == done.out.count("  mend:    ") > 0
        )
