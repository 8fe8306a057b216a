"""The model as a receiver of recorded streams: fires the rules in one order that the barriers allow, channel after channel."""

import hashlib
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from colofd.model.decode import Item
from colofd.model.machine import MAIN_NUMBER, Machine, NotEnabled
from colofd.model.sent import Recording, read_recording
from colofd.model.trace import Acceptor, Sent, channel_number
from colofd.spec.constants import MAIN_CHANNEL, ColoMessage, Compression, Step
from colofd.spec.reasons import Reason, Rejected
from colofd.spec.state import Phase
from colofd.spec.wire import colo as colo_tables
from colofd.spec.wire import main_channel, ram


@dataclass
class Reading:
    """What the model made of a recording: SHA-256 of guest RAM by block, at each commit and at the end."""

    checkpoints: list[dict[str, str]] = field(default_factory=list)
    final: dict[str, str] = field(default_factory=dict)
    consumed: dict[str, int] = field(default_factory=dict)
    micro_steps: int = 0


def receive(streams: Mapping[str, bytes], *, channels: int, compression: Compression, colo: bool, page_size: int) -> Reading:
    """Read the bytes of all channels to the destination.

    Args:
        streams: what was sent, by name of channel.
        channels: number of multifd channels.
        compression: of the multifd channels.
        colo: whether checkpoints follow the migration.
        page_size: bytes of a page.

    Raises:
        Rejected: the stream is not what a source may send.
    """
    recording = read_recording(streams, channels=channels, compression=compression, colo=colo, page_size=page_size)
    reader = _Receiver(recording, colo=colo)
    reader.run()
    reader.reading.consumed = dict(recording.consumed)
    reader.reading.micro_steps = reader.machine.steps
    return reader.reading


class _Receiver:
    def __init__(self, recording: Recording, *, colo: bool) -> None:
        self.recording = recording
        self.machine = Machine(recording.layout.pages, len(recording.rounds), colo=colo, page_size=recording.layout.page_size)
        self.peer = Acceptor(self.machine)
        self.rounds = {name: deque(rounds) for name, rounds in recording.rounds.items()}
        self.reading = Reading()

    def run(self) -> None:
        self.machine.fire(Step.START)
        for item in self.recording.main:
            self.obey(item)
        if self.machine.phase is Phase.RECEIVED:
            self.flush()
        self.reading.final = self.digests()
        for name, rounds in self.rounds.items():
            if any(rounds):
                raise Rejected(Reason.FLUSH_MISSING, channel=name, read="pages after the last round", expected="MULTIFD_FLUSH")

    def obey(self, item: Item) -> None:
        """Take one item of the main channel; Rejected if the spec does not allow it here."""
        try:
            self.take(item)
        except NotEnabled as refusal:
            # Pages where none may come, or an end although not all pages have come in rounds that were ended.
            reason = Reason.PACKET_OUT_OF_PHASE if refusal.rule.startswith("send.") else Reason.FLUSH_MISSING
            raise Rejected(reason, channel=item.channel, offset=item.offset, read=refusal) from refusal

    def take(self, item: Item) -> None:
        """Do what one item of the main channel asks for."""
        if item.offset in self.recording.records:
            self.receive_record(self.recording.records[item.offset])
        elif item.name == ram.FLUSH.name:
            self.end_round()
        elif item.name == ram.END_OF_SECTION.name and not self.rounds:
            self.machine.fire(Step.RELEASE)
        elif item.name == main_channel.DESCRIPTION.name:
            self.end_precopy()
        elif item.name == colo_tables.MESSAGE.name:
            self.take_message(ColoMessage(int(str(item.fields["message"]))))

    def take_message(self, message: ColoMessage) -> None:
        if message is ColoMessage.CHECKPOINT_REQUEST:
            self.begin_checkpoint()
        elif message is ColoMessage.VMSTATE_SIZE:
            self.machine.fire(Step.CHECKPOINT_RECEIVED)

    def end_precopy(self) -> None:
        if self.machine.cells["colo"]:
            self.machine.fire(Step.ENTER_COLO)
            self.reading.checkpoints.append(self.digests())
        else:
            self.machine.fire(Step.COMPLETE)

    def begin_checkpoint(self) -> None:
        """Finish the checkpoint before, and begin."""
        if self.machine.phase is Phase.RECEIVED:
            self.flush()
        self.machine.fire(Step.CHECKPOINT_BEGIN)

    def flush(self) -> None:
        self.machine.fire(Step.FLUSH_BEGIN)
        dirty = np.flatnonzero(self.machine.cells["peer_dirty"]).tolist()
        self.machine.fire(Step.FLUSH_PAGE, pages=dirty)
        self.machine.fire(Step.COMMIT)
        self.reading.checkpoints.append(self.digests())

    def end_round(self) -> None:
        """MULTIFD_FLUSH: every channel is read up to its next SYNC."""
        for name, rounds in self.rounds.items():
            if len(rounds) < 2:
                raise Rejected(Reason.CHANNEL_LOST, channel=name, read="the end of the channel", expected="SYNC")
            for sent in rounds.popleft():
                self.receive_packet(name, sent)
            self.machine.fire(Step.PARK, channel=channel_number(name))
        self.machine.fire(Step.RELEASE)

    def send(self, name: str, sent: Sent) -> int:
        """Let the primary write and send what the packet carries; return the number of the channel."""
        self.peer.primary_writes(sent)
        number = channel_number(name)
        self.machine.fire("send.normal-page", channel=number, pages=sent.pages)
        self.machine.fire("send.zero-page", channel=number, pages=sent.zero_pages)
        return number

    def receive_packet(self, name: str, sent: Sent) -> None:
        number = self.send(name, sent)
        self.machine.fire(Step.PREPARE, channel=number)
        self.machine.fire(Step.ZERO_PAGE, channel=number, pages=sent.zero_pages)
        self.machine.fire(Step.READ_PAGE, channel=number, pages=sent.pages, values=self.machine.numbers(sent.contents))
        self.machine.fire(Step.PAYLOAD_COMPLETE, channel=number)
        self.machine.fire(Step.MIRROR, channel=number, pages=(*sent.pages, *sent.zero_pages))
        self.machine.fire(Step.PACKET_DONE, channel=number)

    def receive_record(self, sent: Sent) -> None:
        self.send(MAIN_CHANNEL, sent)
        self.machine.fire(Step.MAIN_PREPARE, channel=MAIN_NUMBER)
        self.machine.fire(Step.MAIN_ZERO_PAGE, pages=sent.zero_pages)
        self.machine.fire(Step.MAIN_READ_PAGE, pages=sent.pages, values=self.machine.numbers(sent.contents))
        self.machine.fire(Step.MAIN_MIRROR, pages=(*sent.pages, *sent.zero_pages))

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of guest RAM for each block."""
        layout = self.recording.layout
        return {
            name: hashlib.sha256(self.machine.image("guest", layout.first_page(name), length // layout.page_size)).hexdigest()
            for name, length in layout.blocks
        }
