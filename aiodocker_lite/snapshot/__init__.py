"""The root file system of a container: which layers, where it is written, where it appears.

`plan` says it, for an overlay that the container's first process mounts; where overlayfs cannot be
had, `flatten` makes one tree of the layers: `merge` decides what is seen, `node` puts it there. `fill`
does so with one directory, for a volume.
"""

from aiodocker_lite.snapshot.flatten import flatten
from aiodocker_lite.snapshot.part import fill
from aiodocker_lite.snapshot.plan import RootfsPlan, plan_rootfs

__all__ = ["RootfsPlan", "fill", "flatten", "plan_rootfs"]
