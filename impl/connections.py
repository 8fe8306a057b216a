"""Which channel is this? Connections arrive in any order, and say it with their first bytes.

Source: migration/channel.c:migration_channel_identify.
"""

import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Final

from colofd.impl.listener import Listener
from colofd.impl.reception import Reception
from colofd.impl.sockets import ChannelSocket, set_timeout
from colofd.impl.threads import JoinableThread, start
from colofd.spec.constants import HELLO_SIZE, MAIN_CHANNEL, MULTIFD_MAGIC, MULTIFD_VERSION, STREAM_MAGIC, channel_name
from colofd.spec.reasons import Reason, Rejected

HELLO: Final = struct.Struct(">II16sB")
MAGIC_SIZE: Final = 4


class Connections:
    """Identifies connections, each in a thread of its own, so that a silent one holds up nobody."""

    def __init__(self, reception: Reception) -> None:
        self._reception = reception
        self._until = 0.0
        self._threads: list[JoinableThread] = []
        self._listeners: list[Listener] = []

    def begin(self) -> None:
        """Start the time in which all channels must connect."""
        self._until = time.monotonic() + self._reception.options.deadlines.connect

    def attach(self, sock: socket.socket) -> None:
        """Take over a connected socket, and find out in the background which channel it is.

        Raises Rejected: CHANNEL_REPEATED if all channels were already there, CLOSED if the destination has ended,
        EMBEDDER if there is no thread to be had.
        """
        channel = ChannelSocket(sock, self._reception.activity)
        with self._reception.lock:
            if not self._reception.is_ended and not self._is_complete():
                self._reception.attached.append(channel)
                self._start(lambda: self._identify(channel), "identify")
                return
            phase, is_ended = self._reception.phase, self._reception.is_ended
        channel.close()
        reason = Reason.CLOSED if is_ended else Reason.CHANNEL_REPEATED
        raise Rejected(reason, read=f"a connection in phase {phase}", expected="connections before the start")

    def _is_complete(self) -> bool:
        return len(self._reception.sockets) == 1 + self._reception.options.channels

    def listen(self, address: str) -> str:
        """Listen on unix:PATH or tcp:HOST:PORT, and accept as many connections as there are channels.

        Return the address, with the real port. Raises Rejected (CLOSED) if the destination has ended.
        """
        listener = Listener(address, 1 + self._reception.options.channels)
        with self._reception.lock:
            is_ended = self._reception.is_ended
            if not is_ended:
                self._listeners.append(listener)
                self._start(lambda: self._accept(listener), "listen")
        if is_ended:
            listener.close()
            raise Rejected(Reason.CLOSED, read=f"listen in phase {self._reception.phase}", expected="a destination that has not ended")
        return listener.address

    def _start(self, work: Callable[[], None], name: str) -> None:
        thread = JoinableThread(work, name)
        if not start(thread, self._reception):
            raise Rejected(Reason.EMBEDDER, read="no thread to be had", expected=f"a thread to {name}")
        self._threads.append(thread)

    def wait_until_complete(self) -> None:
        """Wait until every channel is there; turn away what else has connected. Raises Rejected (DEADLINE), or EndedError."""
        reception = self._reception
        expected = {MAIN_CHANNEL, *(channel_name(number) for number in range(reception.options.channels))}
        with reception.lock:
            while reception.sockets.keys() != expected:
                reception.require_running()
                left = self._until - time.monotonic()
                if left <= 0:
                    missing = ", ".join(sorted(expected - reception.sockets.keys()))
                    raise Rejected(Reason.DEADLINE, read=f"no connection for {missing}", expected=f"{len(expected)} channels")
                reception.lock.wait(left)
            surplus = [channel for channel in reception.attached if channel not in reception.sockets.values()]
        for channel in surplus:
            channel.shut_down()

    def _accept(self, listener: Listener) -> None:
        for _ in range(1 + self._reception.options.channels):
            connection = listener.accept(max(0.0, self._until - time.monotonic()))
            if connection is None:
                return
            try:
                self.attach(connection)
            except Rejected:
                return

    def _identify(self, channel: ChannelSocket) -> None:
        set_timeout(channel.socket, socket.SO_RCVTIMEO, max(0.001, self._until - time.monotonic()))
        try:
            name = self._name(channel)
            set_timeout(channel.socket, socket.SO_RCVTIMEO, 0)
            self._register(name, channel)
        except Rejected as error:
            self._turn_away(channel, error)
        except BaseException as error:  # noqa: BLE001  # memory may be short here as well as anywhere
            self._turn_away(channel, Rejected(Reason.EMBEDDER, read=f"a connection raised {error!r}"))

    def _turn_away(self, channel: ChannelSocket, error: Rejected) -> None:
        with self._reception.lock:
            is_surplus = self._is_complete()
        if is_surplus:
            # The migration has all that it needs, and does not depend on who else connects.
            channel.shut_down()
        else:
            self._reception.fail(error, error.channel)

    def _name(self, channel: ChannelSocket) -> str:
        hello = memoryview(bytearray(HELLO_SIZE))
        self._read(channel, hello[:MAGIC_SIZE])
        magic = bytes(hello[:MAGIC_SIZE])
        if magic == STREAM_MAGIC.to_bytes(MAGIC_SIZE):
            # It is the first item of the stream, too, and is read there again.
            channel.put_back(magic)
            return MAIN_CHANNEL
        if magic != MULTIFD_MAGIC.to_bytes(MAGIC_SIZE):
            raise Rejected(Reason.CHANNEL_MAGIC, offset=0, read=magic.hex(), expected="the magic of the main or of a multifd channel")
        self._read(channel, hello[MAGIC_SIZE:])
        return self._greet(hello)

    def _read(self, channel: ChannelSocket, target: memoryview) -> None:
        at = channel.offset
        read = channel.read_into(target)
        if read < len(target):
            reason = Reason.TRUNCATED if time.monotonic() < self._until else Reason.DEADLINE
            raise Rejected(reason, offset=at + read, read=f"{read} bytes", expected=f"{len(target)} bytes that say which channel this is")

    def _greet(self, hello: memoryview) -> str:
        _magic, version, uuid, number = HELLO.unpack_from(hello)
        name, options = channel_name(number), self._reception.options
        if version != MULTIFD_VERSION:
            raise Rejected(Reason.HELLO_VERSION, channel=name, offset=4, read=version, expected=MULTIFD_VERSION)
        if options.uuid not in {None, uuid}:
            raise Rejected(Reason.HELLO_UUID, channel=name, offset=8, read=uuid.hex(), expected="the UUID of this machine")
        if number >= options.channels:
            raise Rejected(Reason.CHANNEL_ID, channel=name, offset=24, read=number, expected=f"less than {options.channels}")
        return name

    def _register(self, name: str, channel: ChannelSocket) -> None:
        with self._reception.lock:
            if name in self._reception.sockets:
                raise Rejected(Reason.CHANNEL_REPEATED, channel=name, offset=0, read=f"a second {name}", expected="one of each channel")
            self._reception.sockets[name] = channel
            channel.boundary = channel.offset
            self._reception.lock.notify_all()

    def close(self, until: float) -> list[threading.Thread]:
        """Take no more connections; return the threads that have not ended by `until` (time.monotonic)."""
        with self._reception.lock:
            listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener.wake()
        left: list[threading.Thread] = [thread for thread in self._threads if not thread.ends_by(until)]
        for listener in listeners:
            listener.close()
        return left
