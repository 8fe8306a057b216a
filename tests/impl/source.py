"""A source for tests: the peer's ends of all channels, and what it says on them."""

import contextlib
import socket
import threading
from typing import Final

import numpy as np
import numpy.typing as npt

from colofd.conformance import stream
from colofd.impl import Block, Destination
from colofd.spec.constants import MAIN_CHANNEL, ColoMessage, Compression, SectionType, Step, channel_name

PAGE: Final = 4096
BLOCK: Final = "ram"
PAGES: Final = 8
BLOCKS: Final = [Block(BLOCK, PAGES * PAGE)]
DEVICE: Final = b"state of a device"
SECONDS: Final = 10.0
"""Longer than anything here takes; a test that waits as long has failed."""

REPLY: Final = {message: stream.colo_message(message) for message in ColoMessage}


def page(number: int) -> bytes:
    """Return page content `number`: 0 is zeros."""
    return bytes([number]) * PAGE


class Source:
    """The peer of one destination, which it attaches itself to."""

    def __init__(self, destination: Destination, channels: int, compression: Compression = Compression.NONE) -> None:
        self.ends: dict[str, socket.socket] = {}
        self.names = [channel_name(number) for number in range(channels)]
        self._writers = {name: stream.PacketWriter(compression, PAGE) for name in self.names}
        for number, name in enumerate(self.names):
            self.attach(destination, name, stream.hello(number))
        self.attach(destination, MAIN_CHANNEL, b"")

    def attach(self, destination: Destination, name: str, content: bytes) -> None:
        """Connect a channel that begins with `content`."""
        near, far = socket.socketpair()
        near.settimeout(SECONDS)
        self.ends[name] = near
        near.sendall(content)
        destination.attach(far)

    def put(self, channel: str, *contents: bytes) -> None:
        """Put bytes on a channel; a destination that has gone does not hear them."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.ends[channel].sendall(b"".join(contents))

    def main(self, *contents: bytes) -> None:
        """Put bytes on the main channel."""
        self.put(MAIN_CHANNEL, *contents)

    def pages(self, channel: str, normal: dict[int, int], zero: tuple[int, ...] = ()) -> bytes:
        """Return a packet: page number to content number, and zero pages."""
        return self._writers[channel].pages(BLOCK, [(at * PAGE, page(number)) for at, number in normal.items()], [at * PAGE for at in zero])

    def sync(self, *channels: str) -> None:
        """Put SYNC on the channels, on all if none is named."""
        for name in channels or self.names:
            self.put(name, self._writers[name].sync())

    def begin(self) -> None:
        """Send the header and the block list, and open a PART section: pages may follow."""
        self.main(stream.stream_header("none"), stream.ram_start([(BLOCK, PAGES * PAGE)]))
        self.end_round()
        self.main(stream.ram_close(), stream.ram_continue(SectionType.PART))

    def end_round(self) -> None:
        """End a round: SYNC everywhere, MULTIFD_FLUSH."""
        if self.names:
            self.sync()
            self.main(stream.flush())

    def end_precopy(self) -> None:
        """End the round and precopy."""
        self.end_round()
        self.end_precopy_without_round()

    def end_precopy_without_round(self) -> None:
        """End the open section, and precopy, without a round."""
        self.main(stream.ram_close(), stream.ram_continue(SectionType.END), stream.ram_close())
        self.main(stream.device_sections(DEVICE), stream.description(len(DEVICE), PAGE))

    def begin_checkpoint(self) -> None:
        """Ask for a checkpoint, wait for REPLY, and announce its pages."""
        self.main(REPLY[ColoMessage.CHECKPOINT_REQUEST])
        self.expect(ColoMessage.CHECKPOINT_REPLY)
        self.main(REPLY[ColoMessage.VMSTATE_SEND], stream.ram_continue(SectionType.END))

    def end_checkpoint(self, device: bytes = DEVICE) -> None:
        """End the round and the RAM section, and send the device state."""
        self.end_round()
        self.main(stream.ram_close(), bytes([SectionType.EOF]), stream.device_state(device))

    def expect(self, *messages: ColoMessage) -> None:
        """Read the next replies; they must be these."""
        for message in messages:
            reply = self.ends[MAIN_CHANNEL].recv(4, socket.MSG_WAITALL)
            assert reply == REPLY[message], f"read {reply.hex()}, expected {message.name}"

    def close(self) -> None:
        """Close all channels."""
        for end in self.ends.values():
            end.close()


def receive_threads() -> list[str]:
    """Return the names of the destination's threads that are alive."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("colofd")]


class Hold:
    """A gate that holds one thread at its first micro-step of a kind, until `go` is set."""

    def __init__(self, step: Step, channel: str) -> None:
        self._at = step, channel
        self.arrived = threading.Event()
        self.go = threading.Event()

    def __call__(self, step: Step, channel: str) -> None:
        """Be the gate."""
        if (step, channel) == self._at and not self.arrived.is_set():
            self.arrived.set()
            assert self.go.wait(SECONDS), f"nobody let {channel} go on from {step}"

    def wait(self) -> None:
        """Wait until the thread is held."""
        assert self.arrived.wait(SECONDS), f"{self._at} was not reached"


class Counter:
    """A guest that counts how often it is stopped and run, and says once which pages it has written."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.written = np.zeros(PAGES, np.bool_)

    def stop(self) -> dict[str, npt.NDArray[np.bool_]]:
        """Stop."""
        self.calls.append("stop")
        written, self.written = self.written, np.zeros(PAGES, np.bool_)
        return {BLOCK: written}

    def run(self) -> None:
        """Run."""
        self.calls.append("run")


def content(memory: npt.NDArray[np.uint8]) -> list[int]:
    """Return the content number of every page; -1 for a page that is not uniform."""
    rows = memory.reshape(-1, PAGE)
    return [int(row[0]) if (row == row[0]).all() else -1 for row in rows]


def in_colo(source: Source, pages: dict[int, int]) -> None:
    """Let precopy bring `pages`, and enter COLO."""
    source.begin()
    if source.names:
        source.put("mfd0", source.pages("mfd0", pages))
    else:
        source.main(*(stream.page_record(BLOCK, at * PAGE, page(number)) for at, number in pages.items()))
    source.end_precopy()
    source.expect(ColoMessage.CHECKPOINT_READY)
