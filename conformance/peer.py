"""The other side of a schedule: a primary that writes its RAM, sends it, and puts real bytes on real sockets."""

import hashlib
import socket
import threading
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from colofd.conformance import stream
from colofd.conformance.subjects import Options
from colofd.model.trace import Sent
from colofd.spec.constants import MAIN_CHANNEL, ColoMessage, ReturnPathMessage, SectionType, channel_name

SOCKET_BYTES: Final = 1 << 20
"""Room for what a schedule puts on the wire before the receiver may read it."""

REPLY_SECONDS: Final = 10.0
DEVICE_CONTENT: Final = b"device state, opaque: \0\x06\0\0\0\x02{}"
"""Looks like a vmdescription in the middle, and is none."""


def page_content(number: int, page_size: int) -> bytes:
    """Return content number `number` of a page: 0 is zeros, every other one is noise that no other has, and that any language can make."""
    return hashlib.shake_128(number.to_bytes(4, "big")).digest(page_size) if number else bytes(page_size)


class UnexpectedReply(Exception):  # noqa: N818  # says what happened
    """The receiver did not answer as the protocol wants."""


class Peer:
    """The primary: its RAM, what it must still send, and its ends of the channels."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.ram: list[bytes] = [bytes(options.page_size)] * options.pages
        self.unsent = set(range(options.pages))
        self.sent_in_round: set[int] = set()
        self.channels = [channel_name(number) for number in range(options.channels)]
        self.ends: dict[str, socket.socket] = {}
        self._writers = {name: stream.PacketWriter(options.compression, options.page_size) for name in self.channels}

    def connect(self) -> list[socket.socket]:
        """Return the receiver's ends of all channels; each begins with what tells which it is."""
        far = []
        for name in [*self.channels, MAIN_CHANNEL]:
            near, other = socket.socketpair()
            near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
            near.settimeout(REPLY_SECONDS)
            self.ends[name] = near
            far.append(other)
        for number, name in enumerate(self.channels):
            self.put(name, stream.hello(number))
        self.put(MAIN_CHANNEL, stream.stream_header("none") + (stream.open_return_path() if self.options.colo else b""))
        return far

    def put(self, channel: str, content: bytes) -> None:
        """Put bytes on a channel. A receiver that has gone does not hear them."""
        try:
            self.ends[channel].sendall(content)
        except (BrokenPipeError, ConnectionResetError):
            return

    def begin_ram(self) -> None:
        """Send the list of blocks, and open the section that carries precopy."""
        size = self.options.page_size
        blocks = [(name, (its.stop - its.start) * size) for name, its in self.options.pages_of_blocks.items()]
        self.put(MAIN_CHANNEL, stream.ram_start(blocks) + stream.ram_close() + stream.ram_continue(SectionType.PART))

    def write(self, page: int, content: bytes) -> None:
        """Let the primary's guest write a page."""
        self.ram[page] = content
        self.unsent.add(page)

    def sendable(self) -> list[int]:
        """Return the pages that may be sent in this round."""
        return sorted(self.unsent - self.sent_in_round)

    def take(self, pages: Sequence[int]) -> Sent:
        """Choose pages for a packet, as the primary has them now."""
        zeros = bytes(self.options.page_size)
        normal = tuple(page for page in pages if self.ram[page] != zeros)
        self.unsent.difference_update(pages)
        self.sent_in_round.update(pages)
        return Sent(normal, tuple(self.ram[page] for page in normal), tuple(page for page in pages if self.ram[page] == zeros))

    def groups(self, channel: str, pages: Sequence[int]) -> list[list[int]]:
        """Return the pages as they travel together: one by one on the main channel, in a packet for each RAM block on a multifd channel."""
        if channel == MAIN_CHANNEL:
            return [[page] for page in pages]
        blocks = [[page for page in pages if its.start <= page < its.stop] for its in self.options.pages_of_blocks.values()]
        return [block for block in blocks if block]

    def packet(self, channel: str, sent: Sent, *, is_sync: bool = False) -> bytes:
        """Return the bytes of a packet, which may be one of SYNC, too, or of page records on the main channel; all pages of one block."""
        block, _ = self.options.block_of((*sent.pages, *sent.zero_pages)[0])
        normal = [(self._offset(page), content) for page, content in zip(sent.pages, sent.contents, strict=True)]
        zero = [self._offset(page) for page in sent.zero_pages]
        if channel != MAIN_CHANNEL:
            return self._writers[channel].pages(block, normal, zero, is_sync=is_sync)
        records = [stream.page_record(block, offset, content) for offset, content in normal]
        return b"".join([*records, *(stream.zero_record(block, offset) for offset in zero)])

    def _offset(self, page: int) -> int:
        _, number = self.options.block_of(page)
        return number * self.options.page_size

    def put_sync(self, channel: str) -> None:
        """Put SYNC on a multifd channel."""
        self.put(channel, self._writers[channel].sync())

    def put_round_end(self) -> None:
        """End the round on the main channel: MULTIFD_FLUSH or, without multifd, a new section."""
        self.put(MAIN_CHANNEL, stream.flush() if self.channels else stream.ram_close() + stream.ram_continue(SectionType.PART))
        self.sent_in_round.clear()

    def put_precopy_end(self) -> None:
        """End precopy: the last section of RAM, device sections, vmdescription."""
        ending = stream.ram_close() + stream.ram_continue(SectionType.END) + stream.ram_close()
        devices = stream.device_sections(DEVICE_CONTENT)
        self.put(MAIN_CHANNEL, ending + devices + stream.description(len(DEVICE_CONTENT), self.options.page_size))

    def put_request(self) -> None:
        """Ask for a checkpoint."""
        self.put(MAIN_CHANNEL, stream.colo_message(ColoMessage.CHECKPOINT_REQUEST))

    def put_checkpoint_begin(self) -> None:
        """Announce the pages of a checkpoint."""
        self.put(MAIN_CHANNEL, stream.colo_message(ColoMessage.VMSTATE_SEND) + stream.ram_continue(SectionType.END))

    def put_checkpoint_end(self) -> None:
        """End the pages of a checkpoint and send its device state."""
        self.put(MAIN_CHANNEL, stream.ram_close() + bytes([SectionType.EOF]) + stream.device_state(DEVICE_CONTENT))

    def expect_return_path_replies(self) -> None:
        """Read PONG and SHUT; UnexpectedReply if anything else comes."""
        pong = ReturnPathMessage.PONG.to_bytes(2, "big") + b"\0\4" + stream.be32(1)
        shut = ReturnPathMessage.SHUT.to_bytes(2, "big") + b"\0\4" + stream.be32(0)
        self._expect(pong + shut, "PONG and SHUT")

    def expect(self, message: ColoMessage) -> None:
        """Read one COLO message; UnexpectedReply if it is another one, or none comes."""
        self._expect(stream.colo_message(message), message.name)

    def _expect(self, content: bytes, name: str) -> None:
        reply = b""
        try:
            while len(reply) < len(content) and (more := self.ends[MAIN_CHANNEL].recv(len(content) - len(reply))):
                reply += more
        except OSError as error:
            raise UnexpectedReply(f"expected {name}, got {reply.hex()} and then {error}") from error
        if reply != content:
            raise UnexpectedReply(f"expected {name} ({content.hex()}), got {reply.hex() or 'the end of the channel'}")

    def close(self) -> None:
        """Close all channels."""
        for end in self.ends.values():
            end.close()


class ScheduledGuest:
    """The secondary's guest: knows whether it runs, and what it has written since the receiver last asked."""

    def __init__(self, options: Options) -> None:
        self._lock = threading.Lock()
        self._blocks = options.pages_of_blocks
        self._written: npt.NDArray[np.bool_] = np.zeros(options.pages, np.bool_)
        self.is_running = False

    def wrote(self, page: int) -> None:
        """Note that the guest has written a page."""
        with self._lock:
            self._written[page] = True

    def take_written(self) -> npt.NDArray[np.bool_]:
        """Return which pages were written since the last call."""
        with self._lock:
            written, self._written = self._written, np.zeros_like(self._written)
            return written

    def stop(self) -> dict[str, npt.NDArray[np.bool_]]:
        """Stop, as the receiver wants."""
        self.is_running = False
        written = self.take_written()
        return {block: written[its] for block, its in self._blocks.items()}

    def run(self) -> None:
        """Run, as the receiver wants."""
        self.is_running = True
