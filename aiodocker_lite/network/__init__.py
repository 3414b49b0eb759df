"""Networks of their own for containers, by programs that are made for it; and what a container sees of them.

Each of `cni`, `slirp` and `pasta` connects a network namespace that is there for as long as a block
runs. Programs are taken from directories of the system only, never from PATH (X28).
"""
