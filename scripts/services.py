"""Keep Debian's redis and postgresql and a web server in Python in containers, and use them as one does; print what was seen.

They are asked by their own clients (the host's where it has them), stopped in order, and started again as new
containers on the same volumes. The Debian that they are in is made with mmdebstrap, and kept in --work for the
next time. Root has all this done by another user with --as-user: by nobody, with subordinate ids or with one id only;
each command is in a mount namespace of its own, where these ids are in /etc/subuid and everybody may open /dev/net/tun.
Ports of ordinary users are published by slirp4netns and by pasta. What cannot be had with one id has to be refused in
a sentence of ours. Ends with 1 if something was found.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

from tests.cases.services import Services, debian, pack
from tests.fakes.ordinary import IDS, as_ordinary_user
from tests.runtime.cage import NOBODY


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.services",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--work", type=Path, help="where the Debian is kept; a temporary directory if not given"
    )
    parser.add_argument("--runtime", default="native", help="crun, runc or youki; %(default)s if not given")
    parser.add_argument("--as-user", choices=("ids", "one-id"), help="by another user than root")
    parser.add_argument(
        "archives", type=Path, nargs="*", help="of more images that have a shell, to be run too"
    )
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="services.") as name:
        place = Path(name)
        work = chosen.work or place
        work.mkdir(parents=True, exist_ok=True)
        place.chmod(0o755)
        home = place / "home"
        home.mkdir()
        prefix: list[str] = []
        if os.geteuid() == 0 and chosen.as_user:
            prefix = as_ordinary_user(place, IDS if chosen.as_user == "ids" else "")
            os.chown(home, NOBODY, NOBODY)
        has_users = chosen.as_user != "one-id"
        services = Services(home / "store", home, chosen.runtime, prefix, has_users=has_users)
        services.adl("load", "-q", "-i", str(pack(debian(work), place)))
        began = time.monotonic()
        services.redis()
        services.postgres()
        services.web()
        is_root = os.geteuid() == 0 and not chosen.as_user
        for network in ("private",) if is_root else ("slirp4netns", "pasta"):
            services.web("--network", network, "-p", "127.0.0.1:PORT:8000")
        services.debian()
        for archive in chosen.archives:
            services.archive(archive)
        took = time.monotonic() - began
    print(*services.seen, *(f"FOUND {finding}" for finding in services.findings), sep="\n")
    print(f"{len(services.seen)} things seen, {len(services.findings)} findings, {took:.0f} s")
    return 1 if services.findings else 0


if __name__ == "__main__":
    raise SystemExit(main())
