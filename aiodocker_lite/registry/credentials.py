"""Who we are for a registry: a user name and a password, or a token, and where it was found."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any


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


def parse_object(text: str | bytes) -> tuple[dict[str, Any] | None, str]:
    """A JSON object, or what is wrong: the decoder's error would carry the whole text on, secrets and all."""
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        return None, f"it is not JSON (line {error.lineno})"
    except UnicodeDecodeError:
        return None, "it is not UTF-8"
    except RecursionError:
        return None, "it is nested too deep"
    return (content, "") if isinstance(content, dict) else (None, "it is not a JSON object")
