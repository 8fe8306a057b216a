"""A listening socket that a thread waits on and another one closes."""

import os
import selectors
import socket
from pathlib import Path
from typing import Final

LOOPBACK: Final = "127.0.0.1"
OWNER_ONLY: Final = 0o600


class Listener:
    """Listens on unix:PATH or tcp:HOST:PORT. Raises ValueError for another kind of address, OSError if it cannot be had.

    The path is for its owner only; without a host, only this machine can connect: a stream is trusted with the guest's RAM.

    Attributes:
        address: with the real port.
    """

    def __init__(self, address: str, backlog: int) -> None:
        kind, _, place = address.partition(":")
        self._path: Path | None = None
        if kind == "unix":
            self._socket = _bound(place)
            self._path = Path(place)
            self.address = address
        elif kind == "tcp":
            host, _, port = place.rpartition(":")
            self._socket = socket.create_server((host or LOOPBACK, int(port)))
            self.address = f"tcp:{host or LOOPBACK}:{self._socket.getsockname()[1]}"
        else:
            raise ValueError(f"an address is unix:PATH or tcp:HOST:PORT, not {address}")
        self._socket.listen(backlog)
        # Neither closing nor shutting down a listening socket wakes a thread that waits on one of the kind unix.
        self._waker, self._wakened = socket.socketpair()

    def accept(self, timeout: float) -> socket.socket | None:
        """Return the next connection, or None after `timeout` seconds, `wake`, or an error."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            selector.register(self._wakened, selectors.EVENT_READ)
            ready = [key.fileobj for key, _ in selector.select(timeout)]
        if not ready or self._wakened in ready:
            return None
        try:
            return self._socket.accept()[0]
        except OSError:
            return None

    def wake(self) -> None:
        """End the waiting, now and later."""
        self._waker.close()

    def close(self) -> None:
        """Close it, and remove its path; nobody may be waiting on it."""
        for sock in (self._waker, self._wakened, self._socket):
            sock.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def _bound(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    try:
        # Of the socket itself, before it has a path: so there is no moment in which others may connect (net/unix/af_unix.c:unix_bind).
        os.fchmod(listener.fileno(), OWNER_ONLY)
        listener.bind(path)
    except OSError:
        listener.close()
        raise
    return listener
