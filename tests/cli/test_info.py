"""`info` and `doctor`."""

from __future__ import annotations

import json
from pathlib import Path

from aiodocker_lite import __version__
from aiodocker_lite.network.mode import Mode
from aiodocker_lite.runtime import cgroups
from tests.fakes.commands import Adl, Names
from tests.fakes.processes import program


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
    assert all(Mode.parse(name, publishes=False) for name in facts["Networks"]), "--network takes each"
    groups = cgroups.available()
    assert (facts["CgroupVersion"], facts["CgroupControllers"]) == (groups.version, list(groups.controllers))
    assert not root.exists()


def test_the_default_runtime_is_a_setting(box: Adl, names: Names) -> None:
    """It is shown, made use of and kept, as is one that --runtime names; one that is not here is missing."""
    program("crun")
    crun = {"AIODOCKER_LITE_RUNTIME": "crun"}
    show = ("info", "-f", "{{.DefaultRuntime}}")
    assert (box(*show).out, box(*show, env=crun).out) == ("native\n", "crun\n")
    for words, runtime in (((), "crun"), (("--runtime", "native"), "native")):
        done = box("run", "-q", "--name", "chosen", *words, names.box, "true", env=crun)
        assert (done.code, done.err) == (0, "")
        assert box("inspect", "-f", "{{.HostConfig.Runtime}}", "chosen").out == f"{runtime}\n"
        assert box("rm", "chosen").code == 0
    nothing = {"AIODOCKER_LITE_RUNTIME": "/nothing"}
    assert box("run", "--rm", "-q", names.box, "true", env=nothing).code == 125
    done = box("doctor", env=nothing)
    assert (done.code, done.out.splitlines()[0][:44]) == (1, "missing: the default runtime cannot be used:")


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
