"""From an image name to the places where it can be asked for: mirrors in order, then the registry itself.

The first of these that says anything about a registry decides: podman's `registries.conf`, containerd's
`hosts.toml`, docker's `daemon.json` (for Docker Hub). Certificates in `certs.d` and docker's insecure
registries count for every host, whoever named it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from yarl import URL

from aiodocker_lite.errors import InvalidReference, RegistryBlocked, UnusableConfig
from aiodocker_lite.reference import DOCKER_HUB, Reference
from aiodocker_lite.registry.addresses import authority_of, base_url
from aiodocker_lite.registry.daemon_json import Daemon, read_daemon
from aiodocker_lite.registry.hosts_toml import Server, read_servers
from aiodocker_lite.registry.registries_conf import Rule, read_rules, rule_for
from aiodocker_lite.registry.trust import Trust, certificates_in
from aiodocker_lite.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One place where a repository can be asked for."""

    root: URL
    """The root of the API, such as ``https://registry-1.docker.io/v2``."""
    registry: str
    """Host and port as people write them: the name in messages, and of the credentials that go there."""
    repository: str
    trust: Trust
    is_mirror: bool = False
    pulls: bool = True
    """It is asked for manifests and blobs by their digest."""
    resolves: bool = True
    """It is asked what a tag stands for."""
    headers: tuple[tuple[str, str], ...] = ()
    """For this host and nobody else."""
    namespace: str = ""
    """The registry that this one stands for, where it wants to be told (containerd)."""


class Hosts:
    """What is configured about hosts; files are read when the first registry is asked for."""

    def __init__(self, settings: Settings, environ: Mapping[str, str] = os.environ) -> None:
        self._settings = settings
        self._environ = environ
        self._endpoints: dict[Reference, tuple[Endpoint, ...]] = {}

    def endpoints(self, reference: Reference) -> tuple[Endpoint, ...]:
        """Where an image is asked for, in order; the registry itself is last.

        Raises RegistryBlocked, RegistryUnreachable, UnusableConfig.
        """
        if reference not in self._endpoints:
            self._endpoints[reference] = tuple(self._find(reference))
        return self._endpoints[reference]

    def itself(self, registry: str, repository: str = "") -> Endpoint:
        """A registry without its mirrors. Raises RegistryUnreachable, UnusableConfig."""
        rule = rule_for(registry, self._rules)
        trust = self.trust_of(registry)
        if rule is not None and rule.insecure:
            trust = _insecure(trust)
        return Endpoint(root=base_url(registry) / "v2", registry=registry, repository=repository, trust=trust)

    def trust_of(self, registry: str) -> Trust:
        """What is expected of a host whatever it is asked for. Raises UnusableConfig."""
        trust = self._certificates(registry)
        if self._settings.insecure or self._daemon.is_insecure(registry):
            return _insecure(trust)
        return trust

    # --- what the files say ------------------------------------------------------------------

    @cached_property
    def _rules(self) -> list[Rule]:
        return read_rules(self._settings.config_dirs, self._environ)

    @cached_property
    def _daemon(self) -> Daemon:
        return read_daemon(self._settings.config_dirs)

    def _find(self, reference: Reference) -> Iterator[Endpoint]:
        rule = rule_for(str(reference), self._rules)
        if rule is not None:
            return self._by_rule(reference, rule)
        servers = read_servers(self._settings.config_dirs, reference.registry)
        if servers is not None:
            return self._by_servers(reference, servers)
        return self._by_daemon(reference)

    def _by_rule(self, reference: Reference, rule: Rule) -> Iterator[Endpoint]:
        if rule.blocked:
            raise RegistryBlocked(str(reference), str(rule.path))
        for mirror in rule.mirrors:
            if mirror.for_digests if reference.digest else mirror.for_tags:
                yield self._at(reference, rule, mirror.location, mirror.insecure, is_mirror=True)
        yield self._at(reference, rule, rule.location, rule.insecure, is_mirror=False)

    def _at(
        self, reference: Reference, rule: Rule, location: str, insecure: bool, *, is_mirror: bool
    ) -> Endpoint:
        place = _rewritten(reference, rule, location) if location else reference
        trust = self.trust_of(place.registry)
        return Endpoint(
            root=base_url(place.registry) / "v2",
            registry=place.registry,
            repository=place.repository,
            trust=_insecure(trust) if insecure else trust,
            is_mirror=is_mirror,
        )

    def _by_servers(self, reference: Reference, servers: list[Server]) -> Iterator[Endpoint]:
        itself = self.itself(reference.registry, reference.repository)
        for server in servers:
            place = itself
            if server.url is not None:
                registry = authority_of(server.url)
                is_itself = registry == authority_of(itself.root)
                place = replace(
                    itself,
                    root=server.url,
                    registry=itself.registry if is_itself else registry,
                    trust=self.trust_of(registry),
                    namespace="" if is_itself else reference.registry,
                )
            yield replace(
                place,
                trust=_both(place.trust, server.trust),
                is_mirror=server is not servers[-1],
                pulls=server.pulls,
                resolves=server.resolves,
                headers=server.headers,
            )

    def _by_daemon(self, reference: Reference) -> Iterator[Endpoint]:
        itself = self.itself(reference.registry, reference.repository)
        for url in self._daemon.mirrors if reference.registry == DOCKER_HUB else ():
            registry = authority_of(url)
            trust = self.trust_of(registry)
            if url.scheme == "http":
                trust = replace(trust, plain_http=True)
            yield replace(itself, root=url / "v2", registry=registry, trust=trust, is_mirror=True)
        yield itself

    def _certificates(self, registry: str) -> Trust:
        if self._settings.cert_dir is not None:
            return certificates_in(self._settings.cert_dir)
        for parent in self._settings.config_dirs:
            for tool in ("containers", "docker"):
                directory = parent / tool / "certs.d" / registry
                if directory.is_dir():
                    return certificates_in(directory)
        return Trust()


def _rewritten(reference: Reference, rule: Rule, location: str) -> Reference:
    """The same image at another place."""
    text = location + (rule.rest(str(reference)) or "")
    host = location.partition("/")[0]
    try:
        place = Reference.parse(text)
    except InvalidReference as error:
        raise UnusableConfig(str(rule.path), f"'{location}' makes '{text}' of {reference}") from error
    if not (host == "localhost" or set(host) & set(".:")) or place.target != reference.target:
        raise UnusableConfig(
            str(rule.path), f"'{location}' has to be a host, perhaps with a port and a path, and no tag"
        )
    return place


def _both(trust: Trust, more: Trust) -> Trust:
    """What two files say about one host."""
    return Trust(
        verify=trust.verify and more.verify,
        plain_http=trust.plain_http or more.plain_http,
        authorities=trust.authorities + more.authorities,
        pairs=more.pairs or trust.pairs,
    )


def _insecure(trust: Trust) -> Trust:
    return replace(trust, verify=False, plain_http=True)
