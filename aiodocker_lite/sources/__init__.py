"""Files that name images, read into what is wanted: nothing is asked of a network or a store.

    reading         which kind a file is, and the one entry: `read`
    lists           a name a line
    compose         services of a Compose project; projects: its files, interpolation, dotenv
    kubernetes      pods, in whatever is around them
    dockerfile      what a build begins from; instructions, words
    merging         the same image of several sources
    yamls           YAML, bounded; loaded only where YAML is read

Files are strangers' and may be hostile: whatever is wrong with one is an InvalidSource with its place.
"""

from __future__ import annotations

from aiodocker_lite.sources.merging import merged
from aiodocker_lite.sources.reading import KINDS, Choices, Kind, read

__all__ = ["KINDS", "Choices", "Kind", "merged", "read"]
