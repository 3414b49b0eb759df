"""Names of registries become addresses; which are this machine, and which are the internet."""

from __future__ import annotations

import pytest
from yarl import URL

from aiodocker_lite.errors import RegistryUnreachable
from aiodocker_lite.registry.addresses import authority_of, base_url, is_loopback, is_public


@pytest.mark.parametrize(
    ("registry", "url"),
    [
        ("docker.io", "https://registry-1.docker.io"),
        ("index.docker.io", "https://registry-1.docker.io"),
        ("ghcr.io", "https://ghcr.io"),
        ("registry.example.com:5000", "https://registry.example.com:5000"),
        ("10.0.0.1:5000", "https://10.0.0.1:5000"),
        ("localhost:5000", "https://localhost:5000"),
        ("LOCALHOST", "https://localhost"),
        ("127.0.0.1:5000", "https://127.0.0.1:5000"),
        ("[::1]:5000", "https://[::1]:5000"),
        ("[::2]:5000", "https://[::2]:5000"),
    ],
)
def test_a_name_is_an_address(registry: str, url: str) -> None:
    """Docker Hub is elsewhere than its name says; whether http will do is found out there."""
    assert str(base_url(registry)) == url


@pytest.mark.parametrize(
    "registry", ["localhost:99999", "localhost:x", "https://r.example.com", "a/b", "[::1"]
)
def test_what_is_no_host_and_port_is_unreachable(registry: str) -> None:
    """The reference grammar allows any digits, and `login` takes what was typed."""
    with pytest.raises(RegistryUnreachable, match=r"not valid|named by|99999 is no port"):
        base_url(registry)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "::", "10.1.2.3", "172.16.0.1", "192.168.1.1"),
        *("169.254.169.254", "100.64.0.1", "224.0.0.1", "255.255.255.255", "fe80::1", "fe80::1%eth0"),
        *("fc00::1", "fec0::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1"),
        *("2002:7f00:1::", "192.0.2.1", "2001:db8::1", "240.0.0.1", "not an address", ""),
    ],
)
def test_addresses_that_strangers_may_not_send_us_to(address: str) -> None:
    """R03: this machine, this network, metadata services, in every costume."""
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_addresses_of_the_internet_are_public(address: str) -> None:
    """Also through NAT64, which is how some networks reach all of it."""
    assert is_public(address)


@pytest.mark.parametrize("host", ["127.0.0.1.example.com", "::ffff:127.0.0.1", "0.0.0.0", "localhos", ""])
def test_what_only_looks_like_loopback_is_not(host: str) -> None:
    """Nothing is looked up to find out."""
    assert not is_loopback(host)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.1.2.3", "::1"])
def test_loopback_by_its_names(host: str) -> None:
    """R08: these may speak plain http."""
    assert is_loopback(host)


@pytest.mark.parametrize(
    ("url", "authority"),
    [
        ("https://a.example/v2", "a.example"),
        ("https://a.example:443", "a.example"),
        ("http://a.example:443", "a.example:443"),
        ("https://[::1]:5000/", "[::1]:5000"),
        ("https://[::1]", "[::1]"),
    ],
)
def test_an_address_is_a_name(url: str, authority: str) -> None:
    """As certificates and credentials are filed."""
    assert authority_of(URL(url)) == authority
