"""What the child's side says to the engine, and how a failed step becomes a sentence.

A frame is a length (4 bytes, big-endian) and as many bytes. The child writes JSON without the
`json` module, whose import costs more than all mounts of a container; it reads `marshal`, which
comes from the engine only. Nothing is ever imported once strangers' files are in reach.
"""

from __future__ import annotations

import marshal
import os

TYPE_CHECKING = False  # `typing` is slow to import
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

_TEXT_MAX = 4096


class Failed(Exception):
    """Something that the engine raises as the error of that slug, with these facts."""

    def __init__(self, slug: str, **facts: str) -> None:
        super().__init__(slug)
        self.slug = slug
        self.facts = facts


class step:  # noqa: N801 - it reads as a statement: with step("mounting /proc")
    """What is being done, in plain words, should it fail."""

    def __init__(self, words: str) -> None:
        self.words = words

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and not isinstance(error, Failed):
            raise Failed("setup-failed", step=self.words, reason=reason_of(error)) from error


def reason_of(error: BaseException) -> str:
    """An exception in a few words."""
    if isinstance(error, OSError) and error.errno:
        where, text = error.filename, error.strerror or os.strerror(error.errno)
        return f"{text} ({os.fsdecode(where)})" if where and isinstance(where, (str, bytes)) else text
    return f"{type(error).__name__}: {error}"


class Engine:
    """The engine, as the child sees it: somebody at the other end of a socket."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def say(self, **message: str | int) -> None:
        """Send one message."""
        self._send_all(frame_of(**message))

    def fail(self, failed: Failed) -> None:
        """Send why nothing will run."""
        facts = {name: text[:_TEXT_MAX] for name, text in failed.facts.items()}
        self._send(b'{"slug": %s, "facts": %s}' % (_quoted(failed.slug), _json(facts)))

    def ask(self, *attachments: bytes, **message: str | int) -> Any:
        """Send a question, wait for the answer. Ends this process when the engine has gone."""
        self.say(**message)
        for attachment in attachments:
            self._send(attachment)
        length = int.from_bytes(self._receive(4), "big")
        return marshal.loads(self._receive(length))

    def close(self) -> None:
        """Leave the conversation to the processes that were forked since."""
        os.close(self.fd)

    def _send(self, content: bytes) -> None:
        self._send_all(_frame(content))

    def _send_all(self, content: bytes) -> None:
        frame = memoryview(content)
        while frame:
            frame = frame[os.write(self.fd, frame) :]

    def _receive(self, count: int) -> bytes:
        received = b""
        while len(received) < count:
            more = os.read(self.fd, count - len(received))
            if not more:
                os._exit(125)
            received += more
        return received


def frame_of(**message: str | int) -> bytes:
    """A message as it goes over the socket."""
    return _frame(_json(message))


def _frame(content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + content


def _json(members: dict[str, Any]) -> bytes:
    pairs = (
        _quoted(name) + b": " + (_quoted(value) if isinstance(value, str) else b"%d" % value)
        for name, value in members.items()
    )
    return b"{" + b", ".join(pairs) + b"}"


def _quoted(text: str) -> bytes:
    out = []
    for character in text:
        number = ord(character)
        if " " <= character <= "~" and character not in '"\\':
            out.append(character)
        elif number < 0x10000:
            out.append(f"\\u{number:04x}")
        else:  # by hand, for a codec would be imported
            out.append(f"\\u{0xD7C0 + (number >> 10):04x}\\u{0xDC00 + (number & 0x3FF):04x}")
    return f'"{"".join(out)}"'.encode("ascii")
