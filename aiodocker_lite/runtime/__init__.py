"""What starts and watches processes. Two sides, and a socket between them.

The engine's side, on the event loop: `ladder` finds out what this host permits (with `trial`),
`interpreter` starts a Python that a container cannot overwrite, `launch` hands it the spec, and
`process` is the container that runs then. `network` writes the files that a network needs.

The child's side, which reads what strangers wrote and imports only the standard library, and of
that as little as it can: `init` knows the order of steps; `mounts`, `devices` and `inside` make
the file system, `identity` gives up rights, `command` becomes the container's process, `lesser`
does what it can without namespaces, and `report`
says what happened.
"""
