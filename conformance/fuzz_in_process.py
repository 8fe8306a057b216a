"""The built-in receiver without threads and sockets: it reads channels that are whole from memory, thousands in a second.

All of its code that reads what a peer says runs as it is. What is replaced is where bytes come from, and waiting: the main thread reads the
channels itself, each up to its SYNC, when a round is to end. That is one of the orders in which threads may go on.
"""

import ctypes
import socket
import sys
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from colofd.conformance.fuzz_targets import Target
from colofd.impl import Block, Deadlines, Limits, Phase
from colofd.impl.barrier import Barrier
from colofd.impl.channel import MultifdChannel
from colofd.impl.connections import Connections
from colofd.impl.guest_control import GuestControl
from colofd.impl.main_channel import MainChannel
from colofd.impl.maps import PageMaps
from colofd.impl.memory import Layout, Region
from colofd.impl.reception import EndedError, Options, Reception
from colofd.impl.session import Session
from colofd.impl.snapshot import Leases
from colofd.impl.sockets import Activity, ChannelSocket, Places
from colofd.impl.stream import MainStream
from colofd.impl.trace import Tracer
from colofd.spec.constants import MAIN_CHANNEL, Step, channel_name
from colofd.spec.reasons import Reason, Rejected

_SECONDS: Final = 5.0
"""No wait is expected: a receiver that waits is found by this."""
_PEEK: Final = int(socket.MSG_PEEK)
_PIECE: Final = 300
"""Bytes that arrive at a time where they do not arrive at once: less than the header of a packet."""


class Seen(NamedTuple):
    """What the receiver made of a migration.

    Attributes:
        refused: reason, channel and offset; None: nothing was refused.
        phase: in which it ended.
        step: the last micro-step of the channel that was refused, or of the main channel.
        guest, cache: uint8, shape (pages, page size), to be copied if they are to be kept; there is none before the start.
    """

    refused: tuple[Reason, str, int] | None
    phase: Phase
    step: str
    guest: npt.NDArray[np.uint8] | None
    cache: npt.NDArray[np.uint8] | None


class _Parked(Exception):  # noqa: N818  # says what a channel does, which is no error
    """A channel has come to its SYNC."""


class _Bytes:
    """Stands for a connected socket that says some bytes, so many at a time, and then ends."""

    def __init__(self, data: bytes, at_a_time: int) -> None:
        self.left = memoryview(data)
        self._at_a_time = at_a_time

    def recv_into(self, target: Any, _size: int = 0, _flags: int = 0) -> int:
        """Read as much as there is at a time."""
        count = min(len(target), len(self.left), self._at_a_time)
        target[:count] = self.left[:count]
        self.left = self.left[count:]
        return count

    def recv(self, size: int, flags: int) -> bytes:
        """Look at what is next; nothing else is asked for."""
        if not flags & _PEEK:
            raise NotADirectoryError(flags)
        return bytes(self.left[:size])

    def sendall(self, _message: bytes, _flags: int = 0) -> None:
        """Drop a reply."""

    def setsockopt(self, *_options: object) -> None:
        """Have no options."""


class _Channel(ChannelSocket):
    """A channel that is read from memory. If it arrives in rounds, bytes of a later round are not there yet."""

    def __init__(self, data: bytes, at_a_time: int, *, arrives_in_rounds: bool) -> None:
        self.bytes = _Bytes(data, at_a_time)
        self.socket: Any = self.bytes
        self.offset = self.boundary = 0
        self.unread = b""
        self._arrives_in_rounds = arrives_in_rounds

    def read_into(self, target: memoryview, enough: int | None = None) -> int:
        """Read until `target` is full, or has `enough` bytes, or the channel ends."""
        total, wanted = 0, len(target) if enough is None else enough
        while total < wanted and (count := self.bytes.recv_into(target[total:])):
            total += count
        self.offset += total
        return total

    def read_head(self, target: memoryview, enough: int) -> int:
        """Do the same."""
        return self.read_into(target, enough)

    def read(self, size: int) -> bytes:
        """Return the next bytes."""
        target = memoryview(bytearray(size))
        return bytes(target[: self.read_into(target)])

    def read_pages(self, starts: npt.NDArray[np.uint64], places: Places) -> int:
        """Read the contents of pages straight to their places."""
        places.of(starts)
        total = 0
        for address, size in places.vectors.tolist():
            part = bytes(self.bytes.left[:size])
            ctypes.memmove(address, part, len(part))
            self.bytes.left = self.bytes.left[len(part) :]
            total += len(part)
        self.offset += total
        return total

    def has_begun_packet(self) -> bool:
        """Return whether anything has come after the last packet."""
        return not self._arrives_in_rounds and (bool(self.bytes.left) or self.offset != self.boundary)

    def shut_down(self) -> None:
        """Nobody waits."""


class _Connections(Connections):
    """Identifies channels that are there at once."""

    def identify(self, channel: ChannelSocket) -> None:
        """Find out which channel it is."""
        self._register(self._name(channel), channel)


class _Barrier(Barrier):
    """Lets each channel be read up to its SYNC when a round is to end."""

    channels: dict[str, MultifdChannel]

    def park(self, channel: str, offset: int) -> None:
        """Note the SYNC, and go back to the main thread."""
        self._reception.tracer.emit(Step.PARK, channel)
        self._reception.sockets[channel].boundary = self._reception.sockets[channel].offset
        self._parked[channel] = offset
        raise _Parked

    def end_round(self, offset: int) -> None:
        """Read each channel that has not ended up to its SYNC, and go on."""
        for name, channel in self.channels.items():
            if name not in self._gone:
                try:
                    channel.receive()
                except _Parked:
                    continue
        super().end_round(offset)


class _Steps(Tracer):
    """Notes the last micro-step of each channel."""

    def __init__(self, *, is_quiet: bool) -> None:
        super().__init__(None, None)
        self.is_quiet = is_quiet
        self.last: dict[str, str] = {}

    def emit(self, step: Step, channel: str = "", *_pages: object) -> None:
        """Note a micro-step."""
        self.last[channel] = step


class _Session(Session):
    """A migration that one thread receives."""

    def __init__(self, reception: Reception, guest: GuestControl, memory: "_Memory") -> None:
        super().__init__(reception, guest, Leases(reception))
        self.connections: _Connections = _Connections(reception)
        self._barrier: _Barrier = _Barrier(reception)
        self._memory = memory

    def run(self, channels: list[_Channel]) -> None:
        """Receive. Raises Rejected, or EndedError."""
        self.connections.begin()
        for channel in channels:
            self.connections.identify(channel)
        if len(self._reception.sockets) < len(channels):
            raise Rejected(Reason.DEADLINE, read="fewer channels", expected="all")
        self._receive()

    def _start_receiving(self) -> MainChannel:
        reception = self._reception
        self._memory.clear()
        reception.guest, reception.cache, reception.maps = self._memory.guest, self._memory.cache, PageMaps(reception.layout.page_count)
        self._stream = MainStream(reception.sockets[MAIN_CHANNEL], reception)
        with reception.lock:
            reception.enter(Phase.PRECOPY, Step.START, of=frozenset({Phase.SETUP}))
        names = [channel_name(number) for number in range(reception.options.channels)]
        self._barrier.channels = {name: MultifdChannel(name, reception.sockets[name], reception, self._barrier) for name in names}
        return MainChannel(self._stream, reception, self._barrier)


class _Memory:
    """RAM and cache, used again for each migration."""

    def __init__(self, layout: Layout, *, has_cache: bool) -> None:
        self.guest = Region(layout.page_count, layout.page_size)
        self.cache = Region(layout.page_count, layout.page_size) if has_cache else None

    def clear(self) -> None:
        """Be as fresh memory."""
        self.guest.rows[:] = 0
        if self.cache is not None:
            self.cache.rows[:] = 0


class InProcess:
    """Receives migrations with the set-up of one target, one after the other."""

    def __init__(self, target: Target) -> None:
        context = target.context
        self._layout = Layout([Block(name, length) for name, length in target.blocks.items()], context.page_size)
        self._memory = _Memory(self._layout, has_cache=context.colo)
        self._options = Options(
            context.channels,
            context.colo,
            context.compression,
            target.mirror,
            context.machine,
            context.uuid,
            None,
            None,
            None,
            Limits(),
            Deadlines(_SECONDS, _SECONDS, _SECONDS, _SECONDS),
        )

    def receive(self, streams: Mapping[str, bytes], *, is_watched: bool) -> Seen:
        """Read a migration; with `is_watched`, in small pieces, and page by page, as where somebody looks at micro-steps.

        Raises whatever the receiver raises beside Rejected.
        """
        tracer = _Steps(is_quiet=not is_watched)
        reception = Reception(self._layout, self._options, tracer)
        reception.activity = Activity()
        session = _Session(reception, GuestControl(None, self._layout), self._memory)
        at_a_time = _PIECE if is_watched else sys.maxsize
        channels = [_Channel(data, at_a_time, arrives_in_rounds=self._options.colo) for data in streams.values()]
        refused: tuple[Reason, str, int] | None = None
        try:
            session.run(channels)
        except EndedError:
            pass
        except Rejected as error:
            refused = error.reason, error.channel, error.offset
        guest, cache = reception.guest, reception.cache
        return Seen(
            refused,
            reception.phase,
            tracer.last.get(refused[1] if refused else MAIN_CHANNEL, ""),
            None if guest is None else guest.rows,
            None if cache is None else cache.rows,
        )
