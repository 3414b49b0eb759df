"""Who we are for a registry: a user name and a password, or a token, and where it was found."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Credential:
    """What a registry or its token server is told; with none of the three: nobody in particular.

    An identity token is exchanged for tokens (OAuth2's refresh token), a registry token is one.
    """

    username: str
    password: str = field(repr=False)
    source: str
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)

    @property
    def is_anonymous(self) -> bool:
        """There is nothing to send; `source` says why."""
        return not (self.username or self.identity_token or self.registry_token)
