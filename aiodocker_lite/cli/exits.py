"""From an error to a sentence, a hint and an exit code: the one place where errors are printed.

Exit codes are docker's: 125 for what a user got wrong in any command and for what went wrong
before a container ran, 126 and 127 for its command, 128+n for a signal, 1 for the rest.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

from aiodocker_lite.errors import EngineError, NotATerminal, printable

_USAGE = 125


class Interrupted(Exception):
    """A signal ended the command, in an orderly way."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number.name)
        self.exit_code = 128 + number


def prepare_streams() -> None:
    """Put /dev/null where a standard stream is closed, and escape characters that the output does not have.

    Whatever is opened next would get the number of a closed stream, and be what a container writes into.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free number: this one
            setattr(sys, name, os.fdopen(number, mode, closefd=False))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    if not os.environ.get("AIODOCKER_LITE_DEBUG"):
        # What is only half made when files run out, an event loop for example, complains when it goes.
        sys.unraisablehook = lambda _: None


def guarded(action: Callable[[], int], *, is_run: bool) -> int:
    """Run a command; whatever happens, a sentence comes out and never a traceback."""
    try:
        code = action()
        sys.stdout.flush()
        return code
    except EngineError as error:
        complain(error)
        return exit_code(error, is_run=is_run)
    except Interrupted as error:
        return error.exit_code
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:  # whoever read our output has gone, `head` for example
        return 128 + signal.SIGPIPE
    except Exception as error:
        return _foreign(error, is_run=is_run)
    finally:
        _flush(sys.stdout)
        _flush(sys.stderr)


def _flush(stream: TextIO) -> None:
    """Give up what cannot be written, or the interpreter's own last flush would change the exit code."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def complain(error: EngineError) -> None:
    """Print an error, what happened besides, and what may help."""
    say(str(error))
    for note in getattr(error, "__notes__", []):
        say(note)
    if error.hint:
        say(f"hint: {error.hint}")


def say(text: str) -> None:
    """One line about us on standard error."""
    with suppress(OSError):  # nobody reads it; the exit code is still right
        print(f"aiodocker-lite: {printable(text)}", file=sys.stderr)  # noqa: T201


def say_refused(reason: str) -> None:
    """What this machine has too little of, or what broke."""
    say(f"the system does not permit what is needed here: {reason}")


def exit_code(error: EngineError, *, is_run: bool) -> int:
    """In `run`, 1 belongs to the container: our own failures are 125."""
    ours = is_run and not isinstance(error, NotATerminal)  # for which docker has 1 there, too
    return _USAGE if ours and error.exit_code == 1 else error.exit_code


def _refused(error: BaseException | None) -> str | None:
    """The reason to be told; None for a bug."""
    if isinstance(error, OSError) and error.errno:
        where = f": {error.filename}" if isinstance(error.filename, str) else ""
        return f"{os.strerror(error.errno)}{where}"
    if isinstance(error, MemoryError):
        return os.strerror(errno.ENOMEM)
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return "no thread can be started, for there are too many, or no memory"
    if isinstance(error, RuntimeError) and "event loop" in str(error):
        # uvloop that could not begin cannot be closed either.
        return _refused(error.__context__)
    return None


def _foreign(error: Exception, *, is_run: bool) -> int:
    import typer
    from typer.exceptions import TyperException

    if isinstance(error, typer.Exit):
        return error.exit_code
    if isinstance(error, typer.Abort):
        return 128 + signal.SIGINT
    if isinstance(error, TyperException):
        context = getattr(error, "ctx", None)
        say(error.format_message())
        say(f"see: {context.command_path if context else 'aiodocker-lite'} --help")
        return _USAGE
    if isinstance(error, OSError) and error.errno == errno.ENOSPC and error.filename is None:
        # The store's own are DiskFull, so this was our output.
        say("cannot write the output: no space left on device")
        return _USAGE if is_run else 1
    if os.environ.get("AIODOCKER_LITE_DEBUG"):
        import traceback

        traceback.print_exception(error)
    elif reason := _refused(error):
        say_refused(reason)
    else:
        say(f"internal error: {type(error).__name__}: {error}")
        say("this is a bug; set AIODOCKER_LITE_DEBUG=1 to see where, and please report it")
    return _USAGE if is_run else 1
