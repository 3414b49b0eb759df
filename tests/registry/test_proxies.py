"""Which proxy the environment names for a URL."""

from __future__ import annotations

import pytest
from yarl import URL

from aiodocker_lite.errors import UnusableConfig
from aiodocker_lite.registry.proxies import Proxies

ALL = {"HTTP_PROXY": "http://plain:1", "HTTPS_PROXY": "http://secure:2", "ALL_PROXY": "http://all:3"}


def proxy(url: str, **environ: str) -> str:
    return str(Proxies(environ).proxy_for(URL(url)) or "").rstrip("/")


@pytest.mark.parametrize(
    ("url", "environ", "found"),
    [
        ("https://a.example/", {}, ""),
        ("http://a.example/", ALL, "http://plain:1"),
        ("https://a.example/", ALL, "http://secure:2"),
        ("https://a.example/", {"ALL_PROXY": "http://all:3"}, "http://all:3"),
        ("https://a.example/", {"HTTP_PROXY": "http://plain:1"}, ""),
        ("https://a.example/", {"https_proxy": "http://low:1", "HTTPS_PROXY": ""}, "http://low:1"),
        ("https://a.example/", {"https_proxy": "http://low:1", "HTTPS_PROXY": "http://up:1"}, "http://up:1"),
        ("https://a.example/", {"HTTPS_PROXY": "host:3128"}, "http://host:3128"),
        ("https://a.example/", {"HTTPS_PROXY": "http://host"}, "http://host"),
        ("https://a.example/", {"HTTPS_PROXY": "https://host"}, "https://host"),
        ("https://a.example/", {"HTTPS_PROXY": "socks5h://host"}, "socks5h://host:1080"),
        ("https://a.example/", {"HTTPS_PROXY": "http://me:pw@host:1/"}, "http://me:pw@host:1"),
    ],
)
def test_the_proxy_for_a_url(url: str, environ: dict[str, str], found: str) -> None:
    """By scheme, upper case first, `ALL_PROXY` last; without a scheme it is http."""
    assert proxy(url, **environ) == found


@pytest.mark.parametrize("url", ["http://localhost:5000/", "https://127.9.9.9/", "http://[::1]:5000/"])
def test_this_machine_is_never_asked_through_a_proxy(url: str) -> None:
    """As with docker."""
    assert proxy(url, **ALL) == ""


@pytest.mark.parametrize(
    ("exempt", "host", "is_exempt"),
    [
        ("*", "a.example", True),
        ("a.example", "a.example", True),
        ("A.Example", "a.example", True),
        ("a.example", "b.a.example", True),
        ("a.example", "ba.example", False),
        (".a.example", "b.a.example", True),
        (".a.example", "a.example", False),
        ("*.a.example", "b.a.example", True),
        ("*.a.example", "a.example", False),
        ("x, a.example ,y", "a.example", True),
        ("a.example:5000", "a.example:5000", True),
        ("a.example:5000", "a.example:5001", False),
        ("a.example:443", "a.example", True),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3:5000", False),
        ("10.0.0.0/8", "a.example", False),
        ("10.1.2.3", "10.1.2.3:5000", True),
        ("10.1.2.3:5000", "10.1.2.3:5000", True),
        ("10.1.2.3:5000", "10.1.2.3", False),
        ("2001:db8::/32", "[2001:db8::1]", True),
        ("2001:db8::1", "[2001:db8::1]:5000", True),
        ("10.0.0.0/99,,", "10.0.0.1", False),
        ("", "a.example", False),
    ],
)
@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_who_is_exempt(name: str, exempt: str, host: str, is_exempt: bool) -> None:
    """Names, names below, addresses, networks, ports."""
    assert (proxy(f"https://{host}/", **{**ALL, name: exempt}) == "") is is_exempt


@pytest.mark.parametrize(
    "text", ["ftp://me:s3cret@host", "http://me:s3cret@[::1", "http://me:s3cret@host:99999"]
)
def test_what_is_no_proxy_is_named_without_its_password(text: str) -> None:
    """The variable is named, and what is in it is not shown."""
    with pytest.raises(UnusableConfig, match="cannot use HTTPS_PROXY: ") as caught:
        proxy("https://a.example", HTTPS_PROXY=text)
    assert "s3cret" not in str(caught.value)
