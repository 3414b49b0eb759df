"""Everything that prints. Only here typer, rich and uvloop are imported.

One file per family of verbs; `app.py` imports the one that was asked for and no other, because
each 50 ms count for a command that runs in 60. Results go to standard output, progress and
notices to standard error.
"""
