"""Waits for the channels of a migration, and learns the RAM blocks from the stream before anything of it is read."""

import contextlib
import select
import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from colofd.model.decode import Context, blocks_of
from colofd.spec.constants import STREAM_MAGIC
from colofd.spec.reasons import Reason, Rejected

_FIRST_BYTES: Final = 4
_LISTED_WITHIN: Final = 1 << 20
"""Bytes of a main channel within which the RAM blocks are listed; QEMU needs some hundreds."""
_POLL_SECONDS: Final = 0.01
_LAST_PORT: Final = 65535


class NobodyCame(Exception):  # noqa: N818  # says what is the case
    """No source connected, or not all of it: what is there, and what is missing."""


class CannotListen(OSError):  # noqa: N818  # says what is the case
    """An address that cannot be had: what the system says of it."""


@dataclass(frozen=True)
class Source:
    """A connected source: all sockets so far, in the order in which they came, and the RAM blocks that it lists (name, bytes)."""

    sockets: Sequence[socket.socket]
    blocks: Sequence[tuple[str, int]]


class Incoming:
    """Listens on unix:PATH or tcp:HOST:PORT. A context manager.

    Raises ValueError for another kind of address, CannotListen if it cannot be had.
    """

    def __init__(self, address: str) -> None:
        try:
            self._listen(address)
        except OSError as error:
            raise CannotListen(f"{address} cannot be listened on: {error}") from error

    def _listen(self, address: str) -> None:
        kind, _, place = address.partition(":")
        self._path: Path | None = None
        if kind == "unix":
            self._listener = socket.socket(socket.AF_UNIX)
            try:
                self._listener.bind(place)
            except OSError:
                self._listener.close()
                raise
            self._path = Path(place)
            self._path.chmod(0o600)
            self._listener.listen(256)
            self.address = address
        elif kind == "tcp" and is_port(place.rpartition(":")[2]):
            host, _, port = place.rpartition(":")
            self._listener = socket.create_server((host or "localhost", int(port)), backlog=256)
            self.address = f"tcp:{host or 'localhost'}:{self._listener.getsockname()[1]}"
        else:
            raise ValueError(f"an address is unix:PATH or tcp:HOST:PORT, not {address}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def source(self, context: Context, patience: float, is_wanted: Callable[[], bool] = lambda: True) -> Source:
        """Wait for the main channel and for its list of RAM blocks, which stays unread; other channels may come before.

        Args:
            context: the options of the migration.
            patience: seconds to wait.
            is_wanted: asked again and again; if it says no, waiting ends.

        Raises:
            NobodyCame: `patience` seconds have passed.
            Rejected: the main channel is bad before the end of the list.
        """
        sockets: list[socket.socket] = []
        end = time.monotonic() + patience
        while is_wanted() and time.monotonic() < end:
            with contextlib.suppress(NobodyCame):
                sockets.append(self.accept(_POLL_SECONDS))
            for main in filter(_is_main, sockets):
                if blocks := _blocks(main, context):
                    return Source(sockets, blocks)
        for each in sockets:
            each.close()
        raise NobodyCame(f"{len(sockets)} channels connected to {self.address} in {patience} s, and none of them listed RAM blocks")

    def accept(self, patience: float) -> socket.socket:
        """Return the next connection. NobodyCame after `patience` seconds."""
        if not select.select([self._listener], [], [], patience)[0]:
            raise NobodyCame(f"nobody connected to {self.address} in {patience} s")
        return self._listener.accept()[0]

    def close(self) -> None:
        """Close it, and remove its path."""
        self._listener.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def is_port(text: str) -> bool:
    """Return whether a text is the number of a port."""
    return text.isdigit() and int(text) <= _LAST_PORT


def _peek(sock: socket.socket, length: int) -> bytes:
    try:
        return sock.recv(length, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return b""


def _is_main(sock: socket.socket) -> bool:
    return _peek(sock, _FIRST_BYTES) == struct.pack(">I", STREAM_MAGIC)


def _blocks(main: socket.socket, context: Context) -> Sequence[tuple[str, int]]:
    """Return the RAM blocks that lie unread in a main channel; none if they are not all there yet."""
    try:
        return blocks_of(_peek(main, _LISTED_WITHIN), context)
    except Rejected as rejected:
        if rejected.reason is Reason.TRUNCATED:
            return ()
        raise
