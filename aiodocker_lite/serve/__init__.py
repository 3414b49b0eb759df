"""The store as a read-only registry: what another machine's `pull` asks for, and nothing that writes.

    names        which image a path means
    answers      errors, headers and pages as the specification has them
    blob         the bytes of a blob, whole or behind the pull that brings it
    registry     the requests, answered from a shelf
    door         who may come in
    connections  how many at once
    counts, log  what was served
    server       all of it on a socket

OCI distribution specification 1.1, "Pull" and "Content Discovery". It knows the store by a few
callables, and asks them anew for every request.

A blob is served under every name, whichever image it belongs to: layers are shared by images, and
whoever may ask here may ask for any name.
"""
