"""An adapter: a program that has a receiver of its own and is spoken to by lines of JSON. docs/adapter.md says what it must do.

Whatever an adapter may do wrong is a `Diagnostic` with a code of its own; none of it says anything about the receiver.
"""

import selectors
import time
from types import TracebackType
from typing import Annotated, Any, Final, Literal, Self, TypeVar

import msgspec

from colofd.conformance.adapter_transport import transport_to
from colofd.conformance.diagnostic import Diagnostic

PROTOCOL: Final = 1
VERBS: Final = ("hello", "start", "status", "guest", "failover", "stop")
LONGEST_LINE: Final = 1 << 16
"""Bytes of a reply; RAM is given as a file."""

_PAGE: Final = "docs/adapter.md says what an adapter answers; `colofd check --validate SUBJECT` tries each verb"
_SHOWN: Final = 200


class Hello(msgspec.Struct, frozen=True):
    """The reply to `hello`."""

    name: Annotated[str, msgspec.Meta(min_length=1)]
    version: str
    protocol: int


class Status(msgspec.Struct, frozen=True):
    """The reply to `status`. `error` says in words why it has failed, `reason` is one of the reasons of the spec, if it has them.

    `channel` and `offset` are where the reason was found, if it says that: the offset is in bytes of that channel.
    """

    state: Literal["receiving", "colo", "completed", "failed", "taken-over"]
    error: str = ""
    reason: str = ""
    channel: str = ""
    offset: int = -1


Said = TypeVar("Said", Hello, Status)


class Refusal(Exception):  # noqa: N818  # says what happened
    """The adapter answered that it cannot do it."""


class Adapter:
    """One adapter. A context manager that ends it."""

    def __init__(self, where: str, patience: float) -> None:
        """Start or reach it: see `transport_to`. `patience`: seconds that it may take for one reply. Diagnostic if it is not there."""
        self._patience = patience
        self._number = 0
        self._buffer = b""
        self._transport = transport_to(where, patience)
        try:
            self.hello = self._said(Hello, self.ask("hello", protocol=PROTOCOL))
        except BaseException:
            self.kill()
            raise
        if self.hello.protocol != PROTOCOL:
            self.kill()
            cause = f"it speaks {self.hello.protocol}, and this colofd {PROTOCOL}"
            raise Diagnostic("adapter-protocol", "the adapter speaks another protocol", cause, _PAGE)

    def ask(self, verb: str, **arguments: object) -> dict[str, Any]:
        """Send a verb and return the reply. Refusal if it says that it cannot; Diagnostic if it says nothing that can be understood."""
        self._number += 1
        question = msgspec.json.encode({"id": self._number, "verb": verb, **arguments}) + b"\n"
        try:
            self._transport.send(question)
        except OSError as error:
            raise self._dead(verb) from error
        reply = self._decoded(verb, self._line(verb))
        if reply.get("id") != self._number:
            cause = f"it has id {reply.get('id')!r}, and {self._number} was asked"
            raise Diagnostic("adapter-lies", f"the reply to {verb} is to another question", cause, _PAGE)
        if "cannot" in reply:
            raise Refusal(str(reply["cannot"]))
        return reply

    def status(self) -> Status:
        """Ask for its state."""
        return self._said(Status, self.ask("status"))

    @property
    def has_ended(self) -> bool:
        """Whether it has ended."""
        return self._transport.has_ended

    def kill(self) -> None:
        """End it, and what it has started."""
        self._transport.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.kill()

    def _said(self, kind: type[Said], reply: dict[str, Any]) -> Said:
        try:
            return msgspec.convert(reply, kind)
        except msgspec.ValidationError as error:
            raise Diagnostic("adapter-lies", f"the reply is no {kind.__name__}", f"{error}: {_shown(reply)}", _PAGE) from error

    def _decoded(self, verb: str, line: bytes) -> dict[str, Any]:
        try:
            reply: dict[str, Any] = msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.MsgspecError as error:
            raise Diagnostic("adapter-garbage", f"the reply to {verb} is no object of JSON", f"{error}: {_shown(line)}", _PAGE) from error
        return reply

    def _line(self, verb: str) -> bytes:
        """Return the next line. Diagnostic if there is none in time, more than one, or one that is too long."""
        end = time.monotonic() + self._patience
        with selectors.DefaultSelector() as selector:
            selector.register(self._transport, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                if not selector.select(max(0.0, end - time.monotonic())):
                    raise self._late(verb)
                more = self._transport.receive(LONGEST_LINE)
                if not more:
                    raise self._dead(verb)
                self._buffer += more
                if len(self._buffer) > LONGEST_LINE:
                    cause = f"{len(self._buffer)} bytes after {verb}, beginning {_shown(self._buffer)}"
                    raise Diagnostic("adapter-flood", "the adapter says more than it was asked", cause, _PAGE)
        line, _, self._buffer = self._buffer.partition(b"\n")
        if self._buffer:
            cause = f"after the reply to {verb} follows {_shown(self._buffer)}"
            raise Diagnostic(
                "adapter-flood", "the adapter says more than it was asked", cause, "one line for each question; print to stderr"
            )
        return line

    def _late(self, verb: str) -> Diagnostic:
        if self._buffer:
            cause = f"{_shown(self._buffer)} and no end of the line within {self._patience} s"
            return Diagnostic("adapter-half-line", f"the reply to {verb} is half a line", cause, "end each reply with a newline, and flush")
        cause = f"no reply within {self._patience} s"
        return Diagnostic("adapter-hangs", f"the adapter does not answer {verb}", cause, "answer from a thread that nothing blocks; flush")

    def _dead(self, verb: str) -> Diagnostic:
        if self._buffer:
            cause = f"the line {_shown(self._buffer)} has no end"
            return Diagnostic("adapter-half-line", f"the adapter ended in the middle of its reply to {verb}", cause, _PAGE)
        cause = self._transport.last_words(self._patience)
        return Diagnostic("adapter-died", f"the adapter ended at {verb}", cause, "run the command by hand, and type a line of JSON")


def _shown(said: object) -> str:
    text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
    return repr(text[:_SHOWN])
