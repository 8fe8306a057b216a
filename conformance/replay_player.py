"""Plays the source's part of a recorded migration: the same bytes, in the recorded order, to a destination here or elsewhere."""

import select
import socket
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from colofd.conformance.captures import TO_SOURCE, Capture, Event
from colofd.model.decode import decode_reverse
from colofd.spec.constants import MAIN_CHANNEL
from colofd.spec.reasons import Reason, Rejected
from colofd.spec.wire.return_path import MESSAGE

REPLY_BYTES: Final = 4096

Connect = Callable[[], socket.socket]
"""Makes a new connection to a destination."""


class _Channel:
    """Our end of one channel."""

    def __init__(self, stream: bytes, connection: socket.socket) -> None:
        self.connection = connection
        self.allowed = 0
        """Bytes that the record has sent by now."""
        self.closes = False
        """Whether the record closes the channel after them."""
        self._stream = memoryview(stream)
        self.sent = 0
        """Bytes that were sent by now."""
        self._is_lost = False

    @property
    def is_pending(self) -> bool:
        return self.sent < self.allowed and not self._is_lost

    def advance(self) -> None:
        """Send what fits now, without waiting. A destination that hung up loses the channel, which is its own affair."""
        try:
            if self.is_pending:
                self.sent += self.connection.send(self._stream[self.sent : self.allowed])
            if self.closes and not self.is_pending:
                self.connection.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            return
        except OSError:
            self._is_lost = True


class Player:
    """Feeds the recorded channels to a destination, and waits for its replies where the record has them.

    It ends early, without an error, when the destination hangs up the main channel.
    """

    def __init__(self, capture: Capture, attach: Callable[[socket.socket], None], *, patience: float) -> None:
        """Play `capture`; the other end of each channel is given to `attach` when its first bytes are on their way.

        A destination that neither reads nor replies for `patience` seconds while it should raises `Rejected(DEADLINE)`.
        """
        self._capture = capture
        self._attach = attach
        self._patience = patience
        self._channels: dict[str, _Channel] = {}
        self._replies = bytearray()
        self._is_hung_up = False

    @property
    def replies(self) -> bytes:
        """What the destination has replied on the main channel so far."""
        return bytes(self._replies)

    @property
    def is_all_sent(self) -> bool:
        """Whether every byte of the record was sent."""
        streams = self._capture.streams
        return self._channels.keys() == streams.keys() and all(self._channels[name].sent == len(stream) for name, stream in streams.items())

    def play(self) -> None:
        """Play everything. In COLO the channels stay open at the end, as a primary that goes on would leave them."""
        replies = 0
        for event in self._capture.events:
            if self._is_hung_up:
                return
            if event.direction == TO_SOURCE:
                replies += event.length if event.channel == MAIN_CHANNEL else 0
                self._wait_for_replies(replies)
            elif event.length:
                self._send(event)
            elif not self._capture.colo:
                self._channels[event.channel].closes = True
                self._channels[event.channel].advance()
        self._turn_until(lambda: not self._pending(), "that it reads all bytes")

    def collect(self) -> None:
        """Read the replies up to the destination's end of the main channel, which it has closed already."""
        if MAIN_CHANNEL in self._channels:
            self._turn_until(lambda: self._is_hung_up, "that it closes the main channel")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close our end of all channels."""
        for channel in self._channels.values():
            channel.connection.close()

    def _send(self, event: Event) -> None:
        if event.channel in self._channels:
            channel = self._channels[event.channel]
            channel.allowed += event.length
            channel.advance()
            return
        ours, hand_over = self._open()
        ours.setblocking(False)
        channel = self._channels[event.channel] = _Channel(self._capture.streams[event.channel], ours)
        channel.allowed = event.length
        channel.advance()
        hand_over()

    def _open(self) -> tuple[socket.socket, Callable[[], None]]:
        """Return our end of a new channel, and what gives the destination its own."""
        ours, theirs = socket.socketpair()
        return ours, lambda: self._attach(theirs)

    def _wait_for_replies(self, count: int) -> None:
        self._turn_until(lambda: len(self._replies) >= count, f"{count} bytes of replies")

    def _pending(self) -> list[_Channel]:
        return [channel for channel in self._channels.values() if channel.is_pending]

    def _turn_until(self, is_done: Callable[[], bool], awaited: str) -> None:
        """Send and receive, whatever is possible first, until `is_done` or the destination hangs up."""
        main = self._channels[MAIN_CHANNEL].connection
        while not is_done() and not self._is_hung_up:
            pending = {channel.connection: channel for channel in self._pending()}
            readable, writable, _ = select.select([main], pending, [], self._patience)
            if not readable and not writable:
                raise Rejected(Reason.DEADLINE, read=f"nothing for {self._patience} s", expected=f"{awaited} from the destination")
            for connection in writable:
                pending[connection].advance()
            if readable:
                self._receive(main)

    def _receive(self, main: socket.socket) -> None:
        try:
            received = main.recv(REPLY_BYTES)
        except ConnectionError:
            received = b""
        self._replies += received
        self._is_hung_up = not received


class DistantPlayer(Player):
    """Plays to a destination in another process, which `connect` makes connections to."""

    def __init__(self, capture: Capture, connect: Connect, *, patience: float) -> None:
        """Play `capture`; see `Player` for `patience`."""
        super().__init__(capture, lambda _theirs: None, patience=patience)
        self._connect = connect
        self._not_awaited = sum(item.size for item in decode_reverse(capture.replies) if item.name == MESSAGE.name)
        """Bytes of the messages of the return path: no source waits for them, and a destination may want more before it sends them."""

    def _wait_for_replies(self, count: int) -> None:
        if count > self._not_awaited:
            super()._wait_for_replies(count)

    def _open(self) -> tuple[socket.socket, Callable[[], None]]:
        return self._connect(), lambda: None
