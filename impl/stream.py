"""Reading the main channel: big-endian items through a buffer, never more than is asked for taken out of it."""

import contextlib
import socket
import time
from typing import Final

from colofd.impl.phases import Phase
from colofd.impl.reception import EndedError, Reception
from colofd.impl.sockets import CHUNK, ChannelSocket, require_lost_connection, set_timeout
from colofd.spec.constants import MAIN_CHANNEL
from colofd.spec.reasons import Reason, Rejected

AHEAD: Final = 1 << 19
"""Bytes of the buffer at first: much of it stays in the processor's cache."""


class MainStream:
    """The main channel, both directions.

    What is read ahead stands in a buffer, between two marks; `offset` counts what was taken out of it.
    """

    def __init__(self, sock: ChannelSocket, reception: Reception) -> None:
        self._socket = sock.socket
        self._sock = sock
        self._reception = reception
        self._ahead = bytearray(AHEAD)
        self._ahead[: len(sock.unread)] = sock.unread
        self._begin, self._end = 0, len(sock.unread)
        self._item = 0
        self._timeout = 0.0
        set_timeout(self._socket, socket.SO_SNDTIMEO, reception.options.deadlines.progress)

    @property
    def offset(self) -> int:
        """Bytes of the channel before the next one."""
        return self._sock.offset

    def begin_item(self) -> int:
        """Say that a section, record or message begins here; the end of the channel here is not a truncation. Return the offset."""
        self._item = self.offset
        return self._item

    def rejected(self, reason: Reason, offset: int, read: object, expected: object) -> Rejected:
        """Return an error on this channel."""
        return Rejected(reason, channel=MAIN_CHANNEL, offset=offset, read=read, expected=expected)

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes. Raises Rejected (TRUNCATED, CHANNEL_LOST, DEADLINE), or EndedError."""
        if not self.fill(size):
            raise self._truncation(size, self._end - self._begin)
        taken = bytes(memoryview(self._ahead)[self._begin : self._begin + size])
        self.skip(size)
        return taken

    def skip(self, size: int) -> None:
        """Take `size` bytes that are read ahead."""
        self._begin += size
        self._sock.offset += size

    def take_into(self, target: memoryview) -> int:
        """Fill `target`; return fewer bytes than it has only at the end of the channel."""
        filled = min(len(target), self._end - self._begin)
        target[:filled] = memoryview(self._ahead)[self._begin : self._begin + filled]
        self.skip(filled)
        while filled < len(target):
            count = self._receive(target[filled:])
            if not count:
                break
            filled += count
            self._sock.offset += count
        return filled

    def be8(self) -> int:
        """Return the next byte."""
        return self.take(1)[0]

    def be16(self) -> int:
        """Return the next two bytes as a number."""
        return int.from_bytes(self.take(2))

    def be32(self) -> int:
        """Return the next four bytes as a number."""
        return int.from_bytes(self.take(4))

    def be64(self) -> int:
        """Return the next eight bytes as a number."""
        return int.from_bytes(self.take(8))

    def text(self) -> str:
        """Return the text of a byte that counts, and so many bytes."""
        return self.take(self.be8()).decode("latin-1")

    def peek(self, size: int) -> bytes:
        """Return up to `size` next bytes and leave them; fewer only at the end of the channel."""
        self.fill(size)
        return bytes(self._ahead[self._begin : min(self._begin + size, self._end)])

    def fill(self, size: int) -> bool:
        """Read ahead until `size` bytes are there; return whether they are, before the end of the channel."""
        while self._end - self._begin < size:
            if not self.read_ahead():
                return False
        return True

    @property
    def ahead(self) -> bytearray:
        """The bytes that are read ahead, not to be changed."""
        del self._ahead[self._end :]
        del self._ahead[: self._begin]
        self._begin, self._end = 0, len(self._ahead)
        return self._ahead

    @property
    def window(self) -> tuple[bytearray, int, int]:
        """Where the bytes that are read ahead stand: from the first mark to the second one. Valid until more is read."""
        return self._ahead, self._begin, self._end

    def read_ahead(self) -> bool:
        """Read more ahead, at least a byte; return whether there was any before the end of the channel."""
        self._make_room()
        count = self._receive(memoryview(self._ahead)[self._end :])
        self._end += count
        return bool(count)

    def _make_room(self) -> None:
        """Have room for a chunk behind what is read ahead: move that to the front where it is little, or grow."""
        left = self._end - self._begin
        if left <= self._begin:
            self._ahead[:left] = self._ahead[self._begin : self._end]
            self._begin, self._end = 0, left
        if len(self._ahead) - self._end < CHUNK:
            self._ahead += bytes(CHUNK)

    def has_more(self) -> bool:
        """Return whether bytes follow that have already arrived. Does not wait."""
        try:
            return bool(self._end > self._begin or self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except OSError:
            return False

    def send(self, message: bytes, flags: int = 0) -> None:
        """Write a reply; `flags` are those of the system call. Raises Rejected (CHANNEL_LOST, DEADLINE), or EndedError."""
        try:
            self._socket.sendall(message, flags)
        except BlockingIOError as error:
            raise self.rejected(Reason.DEADLINE, self.offset, "a peer that reads no reply", "the reply read") from error
        except OSError as error:
            self._require_running()
            raise self.rejected(Reason.CHANNEL_LOST, self.offset, error, "a peer that reads the reply") from error

    def _receive(self, target: memoryview) -> int:
        with contextlib.suppress(OSError):
            # What is there is read without asking how long to wait. Trouble shows again below, and so does the end.
            count = self._socket.recv_into(target, 0, socket.MSG_DONTWAIT)
            if count:
                self._reception.activity.touch()
                return count
        return self._wait_and_receive(target)

    def _wait_and_receive(self, target: memoryview) -> int:
        since = time.monotonic()
        while True:
            with self._reception.lock:
                left = self._reception.silence_left(since)
                phase = self._reception.phase
            if left <= 0:
                raise self.rejected(Reason.DEADLINE, self.offset, f"nothing in phase {phase}", _awaited(phase))
            self._bound(left)
            try:
                count = self._socket.recv_into(target)
            except BlockingIOError:
                continue
            except OSError as error:
                require_lost_connection(error.errno)
                count = 0
            if not count:
                self._require_running()
            self._reception.activity.touch()
            return count

    def _bound(self, seconds: float) -> None:
        # Setting it anew for each read would double the system calls: a little more than is left is good enough.
        wanted = self._reception.silence_allowed()
        if seconds < wanted / 2:
            wanted = max(seconds, 0.001)
        if wanted != self._timeout:
            set_timeout(self._socket, socket.SO_RCVTIMEO, wanted)
            self._timeout = wanted

    def _require_running(self) -> None:
        with self._reception.lock:
            if self._reception.is_ended:
                raise EndedError

    def _truncation(self, size: int, got: int) -> Rejected:
        expected = f"{size} bytes"
        if self.offset == self._item and not got:
            return self.rejected(Reason.CHANNEL_LOST, self.offset, "the end of the channel", expected)
        return self.rejected(Reason.TRUNCATED, self.offset + got, f"{got} bytes, then the end", expected)


def _awaited(phase: Phase) -> str:
    return "CHECKPOINT_REQUEST" if phase is Phase.IDLE else "the migration to go on"
