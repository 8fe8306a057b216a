"""Whether anything of a checkpoint shows in a real secondary's RAM before it is whole: cut at every record and packet boundary."""

import fcntl
import hashlib
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from colofd.conformance import stream
from colofd.conformance.primary import Primary
from colofd.conformance.primary_schedule import Write, generated, play
from colofd.conformance.qemu.ends import BLOCK, Setting, our_primary, receiving
from colofd.conformance.qemu.machine import Machine, QemuFailed
from colofd.conformance.qemu.provision import Qemu
from colofd.spec.constants import MAIN_CHANNEL, TARGET_PAGE_SIZE, ColoMessage, SectionType

PAGES: Final = 12
WHOLE: Final = "device state, of one byte: whole"
"""The last piece: a cut behind it must show pages changed, or the looking is at fault."""

_HEADER: Final = 1344
"""Bytes of a packet before its payload."""
_TIOCOUTQ: Final = 0x5411
"""Asks how much of what was sent lies unread."""
_WATCHED_SECONDS: Final = 0.03
_DRAIN_SECONDS: Final = 2.0
_ANSWER_SECONDS: Final = 1.5
"""How long a failover may take. QEMU needs milliseconds, or does not come back."""


@dataclass(frozen=True)
class Piece:
    """Some bytes of a checkpoint, up to a boundary that has a name."""

    channel: str
    name: str
    content: bytes


@dataclass(frozen=True)
class Cut:
    """What a secondary's RAM was when the stream had been cut behind a piece, in pages that were not as committed.

    Attributes:
        at: the last piece that arrived.
        looks: how often RAM was hashed while the pieces arrived and after the cut.
        changed: pages changed at any of these looks.
        changed_after: pages changed after failover.
        failover: what became of the failover.
    """

    channels: int
    at: str
    looks: int
    changed: int
    changed_after: int
    failover: str

    @property
    def is_right(self) -> bool:
        """Whether the guest has nothing of what is not whole, and all of what is."""
        return self.changed + self.changed_after > 0 if WHOLE in self.at else self.changed + self.changed_after == 0


def cut_everywhere(qemu: Qemu, channels: int, every: int = 1) -> list[Cut]:
    """Cut one checkpoint behind each `every`th of its pieces and behind the last one, with a new QEMU for each."""
    cuts: list[Cut] = []
    number, last = 0, 1
    while number <= last:
        with tempfile.TemporaryDirectory(prefix="colofd-") as folder:
            cut, last = _cut(qemu, Path(folder), channels, number)
        cuts.append(cut)
        number = min(number + every, last) if number < last else last + 1
    return cuts


def _cut(qemu: Qemu, folder: Path, channels: int, number: int) -> tuple[Cut, int]:
    """Cut behind piece `number`; return the number of the last one, too."""
    setting = Setting(channels, colo=True, enables_colo=qemu.needs_enable_colo)
    with receiving(qemu, folder, setting, pages=PAGES, patience=_ANSWER_SECONDS) as machine:
        primary = our_primary(folder, setting, pages=PAGES, full=PAGES)
        try:
            play(primary, (*generated(PAGES, 1, 6, 1), Write((0, 1, 2, 3), 77), Write((4, 5), 0)))
            pieces = pieces_of(primary)
            committed = bytes(machine.ram)
            watch = _Watch(machine, committed)
            _send(primary, pieces[: number + 1])
            time.sleep(_WATCHED_SECONDS)
        finally:
            primary.close()
        time.sleep(_WATCHED_SECONDS)
        changed = watch.stop()
        failover = _fail_over(machine)
        at = f"{pieces[number].channel}: {pieces[number].name}"
        cut = Cut(channels, at, watch.looks, changed, _differing(bytes(machine.ram), committed), failover)
        return cut, len(pieces) - 1


def _fail_over(machine: Machine) -> str:
    try:
        machine.command("x-colo-lost-heartbeat")
        machine.wait_until(lambda: machine.migration().get("status") != "colo", _ANSWER_SECONDS)
    except QemuFailed:
        machine.kill()
        return "no answer: failover.waits-for-sync"
    return "took over"


def pieces_of(primary: Primary) -> Sequence[Piece]:
    """Return a checkpoint of the pages that must be sent; with the last piece it is whole, and shows."""
    main = MAIN_CHANNEL
    pieces = [
        Piece(main, "CHECKPOINT_REQUEST", stream.colo_message(ColoMessage.CHECKPOINT_REQUEST)),
        Piece(main, "VMSTATE_SEND", stream.colo_message(ColoMessage.VMSTATE_SEND)),
        Piece(main, "head of the section", stream.ram_continue(SectionType.END)),
    ]
    pages = primary.sendable()
    if primary.channels:
        half = len(pages) // 2
        for channel, some in zip(primary.channels, (pages[:half], pages[half:]), strict=True):
            packet = primary.packet(channel, primary.take(some))
            middle = (_HEADER + len(packet)) // 2
            pieces.append(Piece(channel, "header of a packet", packet[:_HEADER]))
            pieces.append(Piece(channel, "half of its payload", packet[_HEADER:middle]))
            pieces.append(Piece(channel, "end of the packet", packet[middle:]))
        sync = stream.PacketWriter(primary.options.compression, primary.options.page_size)
        pieces += [Piece(channel, "SYNC", sync.sync()) for channel in primary.channels]
        pieces.append(Piece(main, "MULTIFD_FLUSH", stream.flush()))
    else:
        for page in pages:
            record = primary.packet(main, primary.take([page]))
            pieces.append(Piece(main, f"page {page}: head of the record", record[: 9 + len(BLOCK)]))
            pieces.append(Piece(main, f"page {page}: end of the record", record[9 + len(BLOCK) :]))
    size = stream.be32(ColoMessage.VMSTATE_SIZE)
    return [
        *pieces,
        Piece(main, "EOS and footer", stream.ram_close()),
        Piece(main, "EOF", bytes([SectionType.EOF])),
        Piece(main, "VMSTATE_SIZE", size),
        Piece(main, "size of the device state", stream.be64(1)),
        Piece(main, WHOLE, primary.dialect.devices),
    ]


def _send(primary: Primary, pieces: Sequence[Piece]) -> None:
    for piece in pieces:
        primary.put(piece.channel, piece.content)
        if piece.name == "CHECKPOINT_REQUEST":
            primary.expect(ColoMessage.CHECKPOINT_REPLY)
        _drain(primary.ends[piece.channel])


def _drain(channel: socket.socket) -> None:
    """Wait until all bytes were read, as long as that may take: a channel whose thread waits at a barrier reads nothing."""
    end = time.monotonic() + _DRAIN_SECONDS
    while struct.unpack("i", fcntl.ioctl(channel, _TIOCOUTQ, bytes(4)))[0] and time.monotonic() < end:
        time.sleep(0.001)


class _Watch:
    """Hashes RAM again and again, and counts the pages that were not as committed at any time."""

    def __init__(self, machine: Machine, committed: bytes) -> None:
        self.looks = 0
        self._machine = machine
        self._committed = committed
        self._sha256 = hashlib.sha256(committed).digest()
        self._changed = 0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._is_over.is_set():
            ram = bytes(self._machine.ram)
            self.looks += 1
            if hashlib.sha256(ram).digest() != self._sha256:
                self._changed = max(self._changed, _differing(ram, self._committed))

    def stop(self) -> int:
        """End; return how many pages were changed at most."""
        self._is_over.set()
        self._thread.join()
        return self._changed


def _differing(some: bytes, others: bytes) -> int:
    return int((np.frombuffer(some, np.uint8) != np.frombuffer(others, np.uint8)).reshape(-1, TARGET_PAGE_SIZE).any(axis=1).sum())
