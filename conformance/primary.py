"""A primary of ours for a destination in another process: it writes what a version expects, and waits for the replies."""

import socket
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from colofd.conformance import stream
from colofd.conformance.peer import Peer, UnexpectedReply
from colofd.conformance.subjects import Options
from colofd.model.trace import Sent
from colofd.spec.constants import MAIN_CHANNEL, ColoMessage, SectionType, pages_per_packet


class ZeroPages(StrEnum):
    """How pages of zeros are sent: QEMU's parameter zero-page-detection."""

    MULTIFD = "multifd"
    """In the packets of multifd channels, since 9.0."""
    LEGACY = "legacy"
    """As records of the main channel."""
    NONE = "none"
    """As any other page."""


class RoundEnd(StrEnum):
    """What tells a destination with multifd that a round is over."""

    FLUSH = "flush"
    """The record MULTIFD_FLUSH, since 8.1."""
    SECTION = "section"
    """The end of each section of RAM."""


@dataclass(frozen=True)
class Dialect:
    """What differs between versions, and what a migration's source chooses; a machine type of `none` has no devices."""

    zero_pages: ZeroPages = ZeroPages.MULTIFD
    round_end: RoundEnd = RoundEnd.FLUSH
    machine: str = "none"
    enables_colo: bool = False
    """COLO is announced by the command ENABLE_COLO, and there is no return path, as before 11.0."""
    devices: bytes = bytes([SectionType.EOF])
    """Device state: FULL sections and the EOF byte."""


class Primary(Peer):
    """A primary whose channels are connected to another process; the main channel is connected first, as old versions demand."""

    def __init__(self, options: Options, connect: Callable[[], socket.socket], seconds: float, dialect: Dialect | None = None) -> None:
        super().__init__(options)
        self.dialect = dialect or Dialect()
        self.normal_pages: Counter[str] = Counter()
        """How many pages with content each channel has carried."""
        try:
            for name in [MAIN_CHANNEL, *self.channels]:
                self.ends[name] = connect()
                self.ends[name].settimeout(seconds)
        except BaseException:
            self.close()
            raise
        opening = stream.enable_colo() if self.dialect.enables_colo else stream.open_return_path()
        self.put(MAIN_CHANNEL, stream.stream_header(self.dialect.machine) + (opening if options.colo else b""))
        for number, name in enumerate(self.channels):
            self.put(name, stream.hello(number))

    @property
    def _is_round_a_section(self) -> bool:
        return self.dialect.round_end is RoundEnd.SECTION

    def put(self, channel: str, content: bytes) -> None:
        """Put bytes on a channel. One that was closed carries nothing, and a destination that has gone does not hear."""
        if self.ends[channel].fileno() >= 0:
            super().put(channel, content)

    def begin_ram(self) -> None:
        """Send the list of blocks, and open the section that carries precopy."""
        if self._is_round_a_section:
            self._sync_all()
        super().begin_ram()

    def take(self, pages: Sequence[int]) -> Sent:
        """Choose pages for a packet, as the primary has them now."""
        sent = super().take(pages)
        if self.dialect.zero_pages is not ZeroPages.NONE:
            return sent
        return Sent(tuple(pages), tuple(self.ram[page] for page in pages), ())

    def put_pages(self, channel: str, pages: Sequence[int]) -> None:
        """Put pages on a channel; those of zeros go by the main one if they cannot be in packets."""
        sent = self.take(pages)
        if channel != MAIN_CHANNEL and sent.zero_pages and self.dialect.zero_pages is ZeroPages.LEGACY:
            self.put(MAIN_CHANNEL, self.packet(MAIN_CHANNEL, Sent((), (), sent.zero_pages)))
            sent = Sent(sent.pages, sent.contents, ())
        if sent.pages or sent.zero_pages:
            self.normal_pages[channel] += len(sent.pages)
            self.put(channel, self.packet(channel, sent))

    def put_rest(self) -> None:
        """Send everything that must still be sent, shared among the channels, in new rounds where that is needed."""
        room = pages_per_packet(self.options.page_size)
        channels = self.channels or [MAIN_CHANNEL]
        while self.unsent:
            sendable = self.sendable()
            for number, first in enumerate(range(0, len(sendable), room)):
                self.put_pages(channels[number % len(channels)], sendable[first : first + room])
            self.end_round()

    def end_round(self, silent: str = "") -> None:
        """SYNC on every multifd channel but a silent one, and what ends a round on the main one."""
        self._sync_all(silent)
        self.put_round_end()

    def put_round_end(self) -> None:
        """End the round on the main channel."""
        if self.channels and not self._is_round_a_section:
            super().put_round_end()
            return
        self.put(MAIN_CHANNEL, stream.ram_close() + stream.ram_continue(SectionType.PART))
        self.sent_in_round.clear()

    def put_precopy_end(self) -> None:
        """End precopy: the last section of RAM, devices, and their description."""
        # This ends two sections.
        for _ in range(2 * self._is_round_a_section):
            self._sync_all()
        self.put(MAIN_CHANNEL, stream.ram_close() + stream.ram_continue(SectionType.END) + stream.ram_close())
        self.put(MAIN_CHANNEL, self.dialect.devices + stream.no_devices(self.options.page_size)[1:])

    def put_pages_end(self) -> None:
        """End the pages of a checkpoint, and announce its device state, which is not sent."""
        if self._is_round_a_section:
            self._sync_all()
        message = stream.be32(ColoMessage.VMSTATE_SIZE) + stream.be64(len(self.dialect.devices))
        self.put(MAIN_CHANNEL, stream.ram_close() + bytes([SectionType.EOF]) + message)

    def put_device_state(self) -> None:
        """Send the device state: with its last byte the checkpoint is complete."""
        self.put(MAIN_CHANNEL, self.dialect.devices)

    def expect_colo(self) -> None:
        """Wait until the secondary has entered COLO; UnexpectedReply if it says something else."""
        if not self.dialect.enables_colo:
            self.expect_return_path_replies()
        self.expect(ColoMessage.CHECKPOINT_READY)

    def has_heard(self, message: ColoMessage) -> bool:
        """Return whether this COLO message is the next that has come. Does not wait."""
        self.ends[MAIN_CHANNEL].setblocking(False)
        try:
            return self.ends[MAIN_CHANNEL].recv(len(content := stream.colo_message(message))) == content
        except OSError:
            return False

    def wait_for_close(self) -> None:
        """Wait until the destination closes the main channel, for as long as it may take; UnexpectedReply if it says something."""
        try:
            said = self.ends[MAIN_CHANNEL].recv(1)
        except ConnectionError:
            return
        except TimeoutError as late:
            raise UnexpectedReply("the main channel stays open") from late
        if said:
            raise UnexpectedReply(f"expected the end of the main channel, got {said.hex()}")

    def _sync_all(self, silent: str = "") -> None:
        for name in self.channels:
            if name != silent:
                self.put_sync(name)
