"""What was found of real QEMUs, each as the shortest stream that shows it, put to a binary again."""

import re
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from mmap import mmap
from typing import Final

from colofd.conformance import stream
from colofd.conformance.black_box import Version
from colofd.conformance.black_box_streams import PAGE, PAGES, Conversation, conversations, in_precopy, violations
from colofd.conformance.black_box_wire import Seen, Verdict, play
from colofd.conformance.primary import RoundEnd
from colofd.conformance.qemu.provision import Qemu
from colofd.conformance.qemu.subject import PATIENCE, QemuReceiver
from colofd.conformance.subjects import BLOCK, Options
from colofd.spec.constants import Compression, packet_size

OLD_CONTENT: Final = 0xEE
"""What every byte of a destination's RAM is that was not zero before."""

_BEFORE_FAILOVER_SECONDS: Final = 0.5
"""How long the secondary may take to receive what is there of the checkpoint."""
_PAGE: Final = b"\x01" * PAGE
_SHORTEST_RUN: Final = 16
_ZEROS: Final = "zero-pages"


@dataclass(frozen=True)
class Found:
    """A finding: the rule that is broken, the deviation that it is known as, and what shows it.

    Attributes:
        id: stable name.
        rule: id of the rule, clause or wire check.
        deviation: id of the deviation in the profiles.
        conversation: the stream.
        shows: whether what was seen is it.
        takes_over: whether the secondary takes over when all has been sent.
        is_filled: whether RAM has old content before.
    """

    id: str
    rule: str
    deviation: str
    conversation: Conversation
    shows: Callable[[Seen], bool]
    takes_over: bool = False
    is_filled: bool = False


@dataclass(frozen=True)
class Shown:
    """What a binary did with it."""

    id: str
    rule: str
    deviation: str
    is_shown: bool
    seen: str
    seconds: float


def findings(version: Version | None = None) -> dict[str, Found]:
    """Return the findings that a stream shows, by their ids: all, or those that a version can be asked about."""
    version = version or Version()
    has_flush = version.dialect.round_end is RoundEnd.FLUSH
    every = _findings(has_flush=has_flush)
    return {
        each.id: each
        for each in every
        if not version.why_not_colo(each.conversation.options) or not each.conversation.options.colo
        if has_flush or each.conversation.id != _ZEROS
    }


def _findings(*, has_flush: bool) -> list[Found]:
    valid = {each.id: each for each in conversations(has_flush=has_flush)}
    broken = {each.id: each for each in violations(list(valid.values()))}
    checkpoint = valid["checkpoint-packets-none"]
    own = checkpoint.channels[checkpoint.own]
    starved = replace(checkpoint, channels={**checkpoint.channels, checkpoint.own: own[: -packet_size(PAGE)]})
    return [
        Found("failover-deadlock", "progress", "failover.waits-for-sync", starved, _hangs, takes_over=True),
        Found("precopy-hang", "progress", "precopy.hangs-on-bad-packet", broken["wire.packet.magic.violated in precopy-none"], _hangs),
        Found("precopy-hang-on-cut", "progress", "precopy.hangs-on-bad-packet", broken["wire.truncated in precopy-none"], _hangs),
        Found("old-content", "receive.clean-page-arrived", "zero.buffer-not-zero", _zeros(), _accepts_wrongly, is_filled=True),
        Found("unaligned-offset", *_unaligned(broken)),
        Found("page-in-both-lists", "wire.packet.offset-repeated", "unchecked.offset-repeated", _both(), _accepts_wrongly),
    ]


def _hangs(seen: Seen) -> bool:
    return seen.verdict is Verdict.HUNG


def _accepts_wrongly(seen: Seen) -> bool:
    return seen.verdict is Verdict.ACCEPTED and bool(seen.wrong_pages)


def _unaligned(broken: Mapping[str, Conversation]) -> tuple[str, str, Conversation, Callable[[Seen], bool]]:
    case = broken["wire.packet.offset-alignment.violated in precopy-none"]
    return case.check_id, "unchecked.offset-alignment", case, _accepts_wrongly


def _zeros() -> Conversation:
    """Page 0 has content, all others are sent as zero."""
    packets = stream.PacketWriter(Compression.NONE, PAGE).pages(BLOCK, [(0, _PAGE)], [page * PAGE for page in range(1, PAGES)])
    return in_precopy(_ZEROS, packets, {0: _PAGE}, colo=False)


def _both() -> Conversation:
    """Page 0 is in one packet with content and as zero, in precopy with COLO; without COLO the content wins."""
    packets = stream.PacketWriter(Compression.NONE, PAGE).pages(BLOCK, [(0, _PAGE)], [0])
    return in_precopy("page-in-both-lists", packets, {0: _PAGE}, colo=True)


def show(qemu: Qemu, found: Found) -> Shown:
    """Put a finding to a binary. Takes some seconds at most."""
    start = time.monotonic()

    def make(options: Options) -> QemuReceiver:
        return QemuReceiver(qemu, options, fill=_fill if found.is_filled else lambda _ram: None)

    seen = _take_over(make(found.conversation.options), found.conversation) if found.takes_over else play(make, found.conversation)
    return Shown(found.id, found.rule, found.deviation, found.shows(seen), str(seen), round(time.monotonic() - start, 1))


def _fill(ram: mmap) -> None:
    ram[:] = bytes([OLD_CONTENT]) * len(ram)


def _take_over(receiver: QemuReceiver, conversation: Conversation) -> Seen:
    """Send everything, take over, and say whether that was answered."""
    try:
        with ExitStack() as ends:
            channels = [(ends.enter_context(receiver.connect()), data) for data in conversation.channels.values()]
            for channel, data in channels:
                channel.sendall(data)
            time.sleep(_BEFORE_FAILOVER_SECONDS)
            if not receiver.is_in_colo():
                return Seen(Verdict.REFUSED, f"it is not in COLO: {receiver.look()[1]}")
            try:
                receiver.failover()
            except TimeoutError:
                return Seen(Verdict.HUNG, f"x-colo-lost-heartbeat: no answer within {PATIENCE} s")
            return Seen(Verdict.ACCEPTED, "x-colo-lost-heartbeat was answered")
    finally:
        receiver.close()


def vector(found: Found) -> dict[str, object]:
    """Return the stream as JSON: for each channel, in the order of connecting, pieces [hexadecimal, times]."""
    options = found.conversation.options
    set_up = {"channels": options.channels, "colo": options.colo, "pages": options.pages, "block": BLOCK, "old_content": found.is_filled}
    streams = {name: _pieces(data) for name, data in found.conversation.channels.items()}
    return {"id": found.id, "rule": found.rule, "set_up": set_up, "streams": streams, "then": "failover" if found.takes_over else ""}


def _pieces(data: bytes) -> list[tuple[str, int]]:
    """Return bytes as pieces that repeat: runs of one byte, and what is between them."""
    pieces: list[tuple[str, int]] = []
    for run in re.finditer(rb"(.)\1{%d,}|(?:(?!(.)\2{%d,}).)+" % (_SHORTEST_RUN - 1, _SHORTEST_RUN - 1), data, re.DOTALL):
        piece = run.group()
        is_run = len(set(piece)) == 1
        pieces.append((piece[:1].hex(), len(piece)) if is_run else (piece.hex(), 1))
    return pieces
