"""The way to an adapter: the standard input and output of a process that is started for it, or a socket of one that runs already."""

import contextlib
import os
import shlex
import signal
import subprocess
import tempfile
from typing import Final, Protocol

from colofd.conformance.diagnostic import Diagnostic
from colofd.conformance.outgoing import NotReached, connector

ATTACH: Final = "attach:"
"""What the name of an adapter that runs already begins with; an address follows."""

_LAST_WORDS: Final = 1000


class Transport(Protocol):
    """Carries lines in both directions."""

    def send(self, line: bytes) -> None:
        """Send a line. OSError if nobody hears it."""

    def receive(self, size: int) -> bytes:
        """Return up to `size` bytes that have come; none at the end."""

    def fileno(self) -> int:
        """Return what to wait on for bytes that come."""

    @property
    def has_ended(self) -> bool:
        """Whether the adapter has ended."""

    def last_words(self, patience: float) -> str:
        """Return how the adapter has ended, which may take so many seconds."""

    def kill(self) -> None:
        """End it, and what it has started."""


def transport_to(where: str, patience: float) -> Transport:
    """Start a command, or connect to attach:ADDRESS. Diagnostic if there is no such program, or nobody listens.

    Args:
        where: the command line, or attach:unix:PATH, or attach:tcp:HOST:PORT.
        patience: how many seconds connecting may take.
    """
    return Connection(where.removeprefix(ATTACH), patience) if where.startswith(ATTACH) else Process(where)


class Process:
    """An adapter that is started, and ended with what it has started."""

    def __init__(self, command: str) -> None:
        self._words = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the process
        try:
            self._process = subprocess.Popen(  # noqa: S603  # the command that the user gave; no shell reads it
                shlex.split(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._words, bufsize=0, start_new_session=True
            )
        except (OSError, ValueError, IndexError) as error:
            self._words.close()
            raise Diagnostic(
                "adapter-not-found", f"{command!r} cannot be started", str(error), "give exec:COMMAND as in a shell"
            ) from error

    def send(self, line: bytes) -> None:
        """Send a line. OSError if nobody hears it."""
        if self._process.stdin is not None:
            self._process.stdin.write(line)

    def receive(self, size: int) -> bytes:
        """Return up to `size` bytes that have come; none at the end."""
        return os.read(self.fileno(), size)

    def fileno(self) -> int:
        """Return what to wait on for bytes that come."""
        if self._process.stdout is None:
            raise TypeError("the output of an adapter is a pipe")
        return self._process.stdout.fileno()

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    def last_words(self, patience: float) -> str:
        """Return the exit status, and the end of what was printed to standard error."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(patience)
        self._words.seek(max(0, self._words.seek(0, os.SEEK_END) - _LAST_WORDS))
        words = self._words.read().decode(errors="replace").strip()
        return f"exit status {self._process.poll()}" + (f": {words}" if words else "")

    def kill(self) -> None:
        """End the process, and what it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._words.close()


class Connection:
    """An adapter that runs already, and listens: each connection has one receiver after the other. Closing it is all that ends it."""

    def __init__(self, address: str, patience: float) -> None:
        hint = "give attach:unix:PATH or attach:tcp:HOST:PORT, where the adapter listens"
        try:
            self._socket = connector(address, patience)()
        except (NotReached, ValueError) as error:
            raise Diagnostic("adapter-not-found", f"there is no adapter at {address!r}", str(error), hint) from error
        self._has_ended = False

    def send(self, line: bytes) -> None:
        """Send a line. OSError if nobody hears it."""
        self._socket.sendall(line)

    def receive(self, size: int) -> bytes:
        """Return up to `size` bytes that have come; none at the end."""
        try:
            said = self._socket.recv(size)
        except ConnectionError:
            said = b""
        self._has_ended = not said
        return said

    def fileno(self) -> int:
        """Return what to wait on for bytes that come."""
        return self._socket.fileno()

    @property
    def has_ended(self) -> bool:
        """Whether the adapter has closed the connection."""
        return self._has_ended

    def last_words(self, _patience: float) -> str:
        """Return that it was closed: no more is known."""
        self._has_ended = True
        return "it closed the connection"

    def kill(self) -> None:
        """Close the connection."""
        self._socket.close()
