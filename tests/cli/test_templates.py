"""Templates of `--format`: what Go makes of them, as docker prints it."""

from __future__ import annotations

from typing import Any

import pytest

from aiodocker_lite.cli.templates import formatted
from aiodocker_lite.errors import InvalidOption

ROW: dict[str, Any] = {
    "ID": "abc",
    "Labels": {"a": "1", "b.c": "2"},
    "State": {"Running": True, "Pid": 7, "Error": ""},
    "Mounts": [{"Source": "/a"}, {"Source": "/b"}],
    "None": None,
    "Label": lambda name: f"<{name}>",
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{.ID}}", "abc"),
        ("{{ .ID }}: {{.State.Pid}}", "abc: 7"),
        ("{{.State.Running}}", "true"),
        ("{{.State.Nothing}}", "<no value>"),
        ("{{.None}}{{.None.More}}", "<no value><no value>"),
        (r"{{.ID}}\t{{.ID}}\n", "abc\tabc\n"),
        ("{{json .State}}", '{"Running":true,"Pid":7,"Error":""}'),
        ("{{.ID | json}}", '"abc"'),
        ('{{index .Labels "b.c"}}{{index .Labels "x"}}', "2"),
        ("{{(index .Mounts 0).Source}}", None),
        ("{{index .Mounts 1}}", "map[Source:/b]"),
        ('{{.Label "x y"}}', "<x y>"),
        ("{{.Labels}}", "map[a:1 b.c:2]"),
        ("{{range .Mounts}}{{.Source}},{{$.ID}};{{end}}", "/a,abc;/b,abc;"),
        ("{{range .State.Nothing}}x{{else}}none{{end}}", "none"),
        ("{{if .State.Error}}bad{{else}}good{{end}}!", "good!"),
        ("{{if .State.Running}}{{if .ID}}both{{end}}{{end}}", "both"),
        ("a {{- .ID -}} b", "aabcb"),
        ("{{upper .ID}}{{.ID | title | lower}}{{len .Mounts}}", "ABCabc2"),
        ("{{.Missing}}", None),
        ("{{.ID.More}}", None),
        ("{{nothing .ID}}", None),
        ("{{.ID}", None),
        ("{{}}", None),
        ("{{end}}{{.ID}}", None),
        ("{{range .Mounts}}", None),
        ("{{index .Mounts 9}}", None),
        ("{{.ID .ID}}", None),
        ("xml", None),
    ],
)
def test_a_template_is_what_go_makes_of_it(template: str, text: str | None) -> None:
    """Or a sentence about what is not understood."""
    if text is None:
        with pytest.raises(InvalidOption):
            formatted(template, [ROW], {})
    else:
        assert formatted(template, [ROW], {}) == [text]


def test_a_table_has_titles() -> None:
    """Docker's for fields, and a label's name for the label; columns stand below each other."""
    rows = [{**ROW, "ID": "abcdef"}, ROW]
    assert formatted(r'table {{.ID}}\t{{.Label "x"}}', rows, {"ID": "THE ID"}) == [
        "THE ID   x",
        "abcdef   <x>",
        "abc      <x>",
    ]
    assert formatted(r"table {{.ID}}", [], {"ID": "THE ID"}) == ["THE ID"]
