"""`python -m scripts.swaps [--swaps 1000000]`: unpack while a second process swaps the parents.

Each wall is attacked: paths alone, resolved by openat2(2) and by our own walk, and the real worker,
whose attacker stands outside of its chroot. A naive unpacker comes last, to show that the attack
is one: it looks where each parent leads before it uses its path, and is led out.
"""

from __future__ import annotations

import argparse
import sys

from tests.fakes.swaps import UNPACKERS, Met, attack, naive


def line(name: str, met: Met) -> str:
    refused = ", ".join(f"{count} {reason}" for reason, count in met.refused.most_common())
    return (
        f"{name}: {met.swaps} swaps, {met.layers} layers with {met.entries} entries, of which "
        f"{met.elsewhere} went where a swapped link leads, read below the root; "
        f"{met.refused.total()} layers refused ({refused or 'none'}); {len(met.escapes)} escapes"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--swaps", type=int, default=1_000_000, help="for each way of unpacking")
    most: int = parser.parse_args().swaps
    escaped = 0
    for name, unpacker in UNPACKERS.items():
        with unpacker() as unpack:
            met = attack(unpack, lambda met: met.swaps >= most)
        escaped += len(met.escapes)
        print(line(name, met), flush=True)
    print(line("a naive unpacker", attack(naive, lambda met: met.layers >= 3)))
    print(f"{escaped} escapes")
    return 1 if escaped else 0


if __name__ == "__main__":
    sys.exit(main())
