"""Tables of layers, as data: what strangers send, and what must come of it."""
