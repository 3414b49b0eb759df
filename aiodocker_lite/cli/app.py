"""The command table: a look at the arguments decides what is imported."""

from __future__ import annotations

import gc
import signal
import sys

_MODULES = {
    "pull": "pull",
    "load": "pull",
    "save": "save",
    "run": "run",
    "images": "images",
    "inspect": "inspecting",
    "tag": "images",
    "rmi": "images",
    "ps": "listing",
    "exec": "exec",
    "logs": "logs",
    "start": "containers",
    "stop": "containers",
    "restart": "containers",
    "kill": "containers",
    "wait": "containers",
    "rm": "containers",
    "rename": "containers",
    "attach": "containers",
    "cp": "copying",
    "verify": "verify",
    "volume": "volumes",
    "prune": "room",
    "df": "room",
    "info": "info",
    "doctor": "info",
    "login": "registry",
    "logout": "registry",
    "serve": "registry",
    "unshare": "unshare",
}
_GLOBAL_WITH_VALUE = ("--root",)


def main() -> None:
    """Run one command and exit with its code."""
    try:
        # Not at the top of the module, so that an interrupt is no traceback.
        from aiodocker_lite.cli.exits import guarded, prepare_streams
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    gc.set_threshold(20_000)  # imports make much, and none of it is garbage: 4 % of their time
    prepare_streams()
    arguments = sys.argv[1:]
    verb = _verb(arguments)
    code = guarded(lambda: _invoke(verb, arguments), is_run=verb == "run")
    gc.freeze()  # or the interpreter searches all there is for garbage at its end, which takes 40 ms
    sys.exit(code)


def _verb(arguments: list[str]) -> str | None:
    """The first argument that is neither a global option nor the value of one."""
    skip = False
    for argument in arguments:
        if skip:
            skip = False
        elif argument in _GLOBAL_WITH_VALUE:
            skip = True
        elif not argument.startswith("-"):
            return argument
    return None


def _invoke(verb: str | None, arguments: list[str]) -> int:
    from aiodocker_lite.cli.verbs import build

    app = build({verb: _MODULES[verb]} if verb in _MODULES else _MODULES)
    # Not `app()`, which has its own opinion about errors.
    with app.make_context("aiodocker-lite", arguments) as context:
        result = app.invoke(context)
    return result if isinstance(result, int) else 0
