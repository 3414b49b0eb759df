"""Image names: Docker's grammar, as a table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiodocker_lite.errors import InvalidReference
from aiodocker_lite.reference import Reference

HEX = "0123456789abcdef" * 4
DIGEST = f"sha256:{HEX}"


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("alpine", "docker.io/library/alpine:latest", "alpine:latest"),
        ("alpine:3.20", "docker.io/library/alpine:3.20", "alpine:3.20"),
        ("library/alpine", "docker.io/library/alpine:latest", "alpine:latest"),
        ("docker.io/alpine", "docker.io/library/alpine:latest", "alpine:latest"),
        ("index.docker.io/alpine", "docker.io/library/alpine:latest", "alpine:latest"),
        ("bitnami/redis", "docker.io/bitnami/redis:latest", "bitnami/redis:latest"),
        ("localhost:5000/alpine", "localhost:5000/alpine:latest", "localhost:5000/alpine:latest"),
        ("localhost/alpine", "localhost/alpine:latest", "localhost/alpine:latest"),
        ("Upper/alpine", "Upper/alpine:latest", "Upper/alpine:latest"),
        ("localhost:5000", "docker.io/library/localhost:5000", "localhost:5000"),
        ("ghcr.io/o/r/p:t", "ghcr.io/o/r/p:t", "ghcr.io/o/r/p:t"),
        ("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a:latest"),
        ("127.0.0.1/a", "127.0.0.1/a:latest", "127.0.0.1/a:latest"),
        ("a-b.c__d_e---f:T_1.x-", "docker.io/library/a-b.c__d_e---f:T_1.x-", "a-b.c__d_e---f:T_1.x-"),
        (f"alpine@{DIGEST}", f"docker.io/library/alpine@{DIGEST}", f"alpine@{DIGEST}"),
        (f"h:1/a/b:tag@{DIGEST}", f"h:1/a/b:tag@{DIGEST}", f"h:1/a/b:tag@{DIGEST}"),
        (f"alpine:{'t' * 128}", f"docker.io/library/alpine:{'t' * 128}", f"alpine:{'t' * 128}"),
    ],
)
def test_names_mean_what_docker_means(text: str, full: str, familiar: str) -> None:
    """Defaults are filled in, and taken out again for people."""
    reference = Reference.parse(text)
    assert (str(reference), reference.familiar) == (full, familiar)
    assert Reference.parse(familiar) == Reference.parse(full) == reference


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "name is empty"),
        (HEX, "image ID"),
        ("Alpine", "'Alpine' must be lower case"),
        ("localhost:5000/Alpine", "'Alpine' must be lower case"),
        ("alpine:", "tag ''"),
        ("alpine:.x", "tag '.x'"),
        ("alpine:a b", "tag 'a b'"),
        ("alpine:ä", "tag 'ä'"),
        (f"alpine:{'t' * 129}", "at most 128"),
        ("alpine@sha256:abc", "digest 'sha256:abc'"),
        (f"alpine@{DIGEST.upper()}", "digest"),
        ("alpine@", "digest ''"),
        ("a//b", "empty part"),
        ("/a", "empty part"),
        ("localhost:5000/", "empty part"),
        ("a/", "empty part"),
        (":tag", "empty part"),
        ("-a", "'-a' may only have"),
        ("a..b", "'a..b' may only have"),
        ("a___b", "'a___b' may only have"),
        ("a/../b", "'..' may only have"),
        ("https://host/a", "a name has no scheme; write host/a"),
        ("host:port/a", "registry 'host:port' is not a host name"),
        ("-h.com/a", "registry '-h.com' is not a host name"),
        ("h.com/" + "a" * 250, "longer than 255"),
        ("alpine\n", "'alpine\\n' may only have"),
    ],
)
def test_a_bad_name_says_which_part_is_wrong(text: str, reason: str) -> None:
    """One sentence, with the part that cannot be."""
    with pytest.raises(InvalidReference) as caught:
        Reference.parse(text)
    assert reason in str(caught.value)
    assert caught.value.exit_code == 125


def test_the_digest_decides_where_there_is_one() -> None:
    """A registry is asked for the digest, whatever the tag says."""
    assert Reference.parse(f"alpine:3@{DIGEST}").target == DIGEST
    assert Reference.parse("alpine:3").target == "3"


@given(st.text(max_size=60))
def test_whatever_is_typed_is_a_name_or_one_sentence(text: str) -> None:
    """No other error ever comes out, and what is accepted means itself."""
    try:
        reference = Reference.parse(text)
    except InvalidReference as error:
        assert str(error)
    else:
        assert Reference.parse(str(reference)) == reference
