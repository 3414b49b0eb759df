"""The command table: a look at the arguments decides what is imported."""

from __future__ import annotations

import gc
import signal
import sys

_MODULES = {
    "pull": "pull",
    "prefetch": "prefetch",
    "load": "pull",
    "save": "save",
    "run": "run",
    "images": "images",
    "inspect": "inspecting",
    "tag": "images",
    "rmi": "images",
    "ps": "listing",
    "port": "listing",
    "exec": "exec",
    "logs": "logs",
    "start": "containers",
    "stop": "containers",
    "restart": "containers",
    "kill": "containers",
    "wait": "containers",
    "rm": "containers",
    "rename": "containers",
    "stats": "stats",
    "top": "stats",
    "attach": "containers",
    "cp": "copying",
    "verify": "verify",
    "volume ls": "volumes",
    "volume create": "volumes",
    "volume inspect": "volumes",
    "volume rm": "volumes",
    "volume prune": "volumes",
    "prune": "room",
    "df": "room",
    "info": "info",
    "doctor": "info",
    "version": "info",
    "login": "registry",
    "logout": "registry",
    "serve": "registry",
    "unshare": "unshare",
}
_CONTAINER = (
    "attach", "cp", "exec", "kill", "logs", "port", "ps", "rename", "restart", "rm", "run", "start", "stats", "stop", "top", "wait",
)  # fmt: skip
_IMAGE = ("load", "pull", "save", "tag")
_TWO_WORDS: dict[str, dict[str, list[str]]] = {
    "container": {
        **{verb: [verb] for verb in _CONTAINER},
        "ls": ["ps"],
        "list": ["ps"],
        "inspect": ["inspect", "--type=container"],
        "prune": ["prune", "--only=containers"],
    },
    "image": {
        **{verb: [verb] for verb in _IMAGE},
        "ls": ["images"],
        "list": ["images"],
        "rm": ["rmi"],
        "remove": ["rmi"],
        "inspect": ["inspect", "--type=image"],
        "prune": ["prune", "--only=images"],
    },
    "system": {"df": ["df"], "prune": ["prune"], "info": ["info"]},
    "volume": {
        **{action: [f"volume {action}"] for action in ("create", "inspect", "ls", "prune", "rm")},
        "list": ["volume ls"],
        "remove": ["volume rm"],
    },
}
"""Docker's other names of the same verbs, and verbs that are two words."""
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
    arguments = _in_one_word(sys.argv[1:])
    verb = _verb(arguments)
    code = guarded(lambda: _invoke(verb, arguments), is_run=verb == "run")
    gc.freeze()  # or the interpreter searches all there is for garbage at its end, which takes 40 ms
    sys.exit(code)


def _in_one_word(arguments: list[str]) -> list[str]:
    """`container ls` as `ps`, and so on; what is not understood stays as it is."""
    at = _place_of_verb(arguments)
    if at is None:
        return arguments
    known = _TWO_WORDS.get(arguments[at], {})
    words = known.get(arguments[at + 1]) if len(arguments) > at + 1 else None
    return arguments if words is None else [*arguments[:at], *words, *arguments[at + 2 :]]


def _verb(arguments: list[str]) -> str | None:
    at = _place_of_verb(arguments)
    return None if at is None else arguments[at]


def _place_of_verb(arguments: list[str]) -> int | None:
    """Where the first argument is that is neither a global option nor the value of one."""
    skip = False
    for at, argument in enumerate(arguments):
        if skip:
            skip = False
        elif argument in _GLOBAL_WITH_VALUE:
            skip = True
        elif not argument.startswith("-"):
            return at
    return None


def _invoke(verb: str | None, arguments: list[str]) -> int:
    if verb in _TWO_WORDS:
        at = arguments.index(verb)
        return _explain(verb, arguments[at + 1 :])
    if verb is not None and verb not in _MODULES:
        _refuse(verb)
    from aiodocker_lite.cli.verbs import build

    app = build({verb: _MODULES[verb]} if verb in _MODULES else _MODULES)
    # Not `app()`, which has its own opinion about errors.
    with app.make_context("aiodocker-lite", arguments) as context:
        result = app.invoke(context)
    return result if isinstance(result, int) else 0


def _refuse(words: str) -> None:
    """Raise NotSupported for a verb that only docker has."""
    from aiodocker_lite.cli.lacking import refused

    if error := refused(words):
        raise error


def _explain(verb: str, rest: list[str]) -> int:
    """What can come after the first of two words; that something else did is an error."""
    listed = "|".join(sorted(_TWO_WORDS[verb]))
    if not rest or rest[-1] in ("-h", "--help"):
        sys.stdout.write(f"Usage: aiodocker-lite {verb} {listed}\n")
        return 0
    _refuse(f"{verb} {rest[0]}")
    from aiodocker_lite.errors import InvalidOption

    raise InvalidOption(verb, f"it is followed by one of {listed}")
