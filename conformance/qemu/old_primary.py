"""Stands between a primary before 11.0 and our secondary: takes out of the main channel what 11.0 does not have any more.

These are the command ENABLE_COLO, which announces COLO, and in each checkpoint of 10.0 the command SWITCHOVER_START.
All else passes as it is.
"""

import contextlib
import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from colofd.conformance import stream
from colofd.spec.constants import ColoMessage, Command

_CHUNK: Final = 1 << 18
_REPLY: Final = stream.colo_message(ColoMessage.CHECKPOINT_REPLY)
_SEND: Final = stream.colo_message(ColoMessage.VMSTATE_SEND)
_SWITCHOVER: Final = stream.command(Command.SWITCHOVER_START)


class OldPrimary:
    """Listens at one path for the main channel of a primary, and brings it to another. A context manager."""

    def __init__(self, path: Path, onward: Path) -> None:
        self._path = path
        self._onward = onward
        self._has_replied = threading.Event()
        self._sockets = [socket.socket(socket.AF_UNIX)]
        self._sockets[0].bind(str(path))
        self._sockets[0].listen(1)
        self._threads = [threading.Thread(target=self._run, daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End it: both sides see the end of the channel. Does nothing a second time."""
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for each in self._sockets:
            each.close()
        self._path.unlink(missing_ok=True)

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            primary, _ = self._sockets[0].accept()
            self._sockets.append(primary)
            secondary = socket.socket(socket.AF_UNIX)
            self._sockets.append(secondary)
            secondary.connect(str(self._onward))
            back = threading.Thread(target=self._bring_back, args=(secondary, primary), daemon=True)
            self._threads.append(back)
            back.start()
            self._bring(primary, secondary)

    def _bring(self, primary: socket.socket, secondary: socket.socket) -> None:
        """Bring what the primary says; it says nothing between a request and the reply, so what follows a reply is VMSTATE_SEND."""
        with contextlib.suppress(OSError):
            opening = b""
            while stream.enable_colo() not in opening and len(opening) < _CHUNK and (chunk := primary.recv(_CHUNK)):
                opening += chunk
            secondary.sendall(opening.replace(stream.enable_colo(), b"", 1))
            while chunk := primary.recv(_CHUNK):
                if self._has_replied.is_set():
                    self._has_replied.clear()
                    while len(chunk) < len(_SEND + _SWITCHOVER) and (more := primary.recv(_CHUNK)):
                        chunk += more
                    if chunk.startswith(_SEND + _SWITCHOVER):
                        chunk = _SEND + chunk[len(_SEND + _SWITCHOVER) :]
                secondary.sendall(chunk)
        with contextlib.suppress(OSError):
            secondary.shutdown(socket.SHUT_WR)

    def _bring_back(self, secondary: socket.socket, primary: socket.socket) -> None:
        """Bring the replies, which are one message each."""
        with contextlib.suppress(OSError):
            while reply := secondary.recv(len(_REPLY), socket.MSG_WAITALL):
                if reply == _REPLY:
                    self._has_replied.set()
                primary.sendall(reply)
        with contextlib.suppress(OSError):
            primary.shutdown(socket.SHUT_WR)
