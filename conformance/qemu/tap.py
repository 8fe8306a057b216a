"""Stands between a primary and its secondary: passes all bytes on, tells of each answer before the primary has it, and cuts the line."""

import contextlib
import functools
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from colofd.conformance.outgoing import NotReached, connector
from colofd.spec.constants import STREAM_MAGIC, ColoMessage

_PIECE: Final = 1 << 18
_RETURN_PATH_BYTES: Final = 16
"""PONG and SHUT, before the first COLO message."""

_COMMITS: Final = frozenset({ColoMessage.CHECKPOINT_READY, ColoMessage.VMSTATE_RECEIVED})


class Tap:
    """Listens on one path, and passes each connection on to another. A context manager.

    Args:
        here: where the primary connects.
        there: where the secondary listens.
        at_answer: is called for CHECKPOINT_READY and each VMSTATE_RECEIVED, before the primary has it: it stands still.
    """

    def __init__(self, here: Path, there: Path, at_answer: Callable[[], None], patience: float) -> None:
        self._at_answer = at_answer
        self._connect = connector(f"unix:{there}", patience)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(here))
        self._listener.listen(256)
        self._ends: list[socket.socket] = []
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        with self._lock:
            self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError, NotReached):
            while True:
                near = self._listener.accept()[0]
                far = self._connect()
                far.settimeout(None)
                with self._lock:
                    self._ends += [near, far]
                self._start(functools.partial(self._pass_on, near, far))

    def _pass_on(self, near: socket.socket, far: socket.socket) -> None:
        """Pass on what the primary says on a connection, and what it hears."""
        first = near.recv(4, socket.MSG_PEEK)
        listens = first == struct.pack(">I", STREAM_MAGIC)
        self._start(lambda: _pump(far, near, self._listening() if listens else lambda _piece: None))
        _pump(near, far, lambda _piece: None)

    def _listening(self) -> Callable[[bytes], None]:
        said = bytearray()
        at = _RETURN_PATH_BYTES

        def listen(piece: bytes) -> None:
            nonlocal at
            said.extend(piece)
            while at + 4 <= len(said):
                if int.from_bytes(said[at : at + 4], "big") in _COMMITS:
                    self._at_answer()
                at += 4

        return listen

    def cut(self) -> None:
        """Cut all connections, at both ends."""
        with self._lock:
            ends = list(self._ends)
        for each in ends:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def drain(self, seconds: float) -> None:
        """Wait until everything that was said is passed on: both sides must be gone."""
        self._listener.close()
        with self._lock:
            threads = list(self._threads)
        for each in threads[1:]:
            each.join(seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for each in self._ends:
            each.close()


def _pump(source: socket.socket, target: socket.socket, look: Callable[[bytes], None]) -> None:
    """Pass on until one side is gone; the other one hears of it. What was said is looked at even if nobody hears it."""
    hears = True
    with contextlib.suppress(OSError):
        while piece := source.recv(_PIECE):
            look(piece)
            if hears:
                try:
                    target.sendall(piece)
                except OSError:
                    hears = False
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
