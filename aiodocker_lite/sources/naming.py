"""An image's name as it stands in a file, to what is wanted."""

from __future__ import annotations

from aiodocker_lite.errors import InvalidOption, InvalidReference, InvalidSource
from aiodocker_lite.platforms import Platform
from aiodocker_lite.reference import Reference
from aiodocker_lite.wanted import Wanted

TEMPLATE_HINT = "; a template is to be rendered first, as with helm template"


def named(text: str, place: str, platform: str | None = None) -> Wanted:
    """The image of this name. Raises InvalidSource, with the place."""
    try:
        reference = Reference.parse(text)
    except InvalidReference as error:
        hint = TEMPLATE_HINT if "{{" in text else ""
        raise InvalidSource(place, f"{error}{hint}") from None
    return Wanted(reference, platform_of(platform, place) if platform else None, (place,))


def platform_of(text: str, place: str) -> Platform:
    """The platform of this name. Raises InvalidSource, with the place."""
    try:
        return Platform.parse(text)
    except InvalidOption as error:
        raise InvalidSource(place, f"the platform {error.reason}") from None
