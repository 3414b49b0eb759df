"""Image configuration and options to an OCI runtime spec (runtime-spec 1.0, config.md).

`spec` puts the parts together: `process` what runs, `mounts` what it sees, `rights` what it may do
(with `seccomp`, the default filter, and `devices`), `limits` what it may use.
"""

from aiodocker_lite.bundle.process import DEFAULT_PATH, chosen_hostname, merge_command
from aiodocker_lite.bundle.rights import CAPABILITIES
from aiodocker_lite.bundle.spec import build_spec

__all__ = ["CAPABILITIES", "DEFAULT_PATH", "build_spec", "chosen_hostname", "merge_command"]
