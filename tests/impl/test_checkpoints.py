"""What checkpoints do to guest RAM, and what bad input does not do to it."""

import threading
from collections.abc import Callable
from typing import Final, Literal

import numpy as np
import pytest

from colofd.conformance import stream
from colofd.impl import Commit, Destination, Event, Limits, Phase
from colofd.spec.constants import ColoMessage, SectionType, Step, packet_size
from colofd.spec.reasons import Reason, Rejected
from tests.impl.source import (
    BLOCK,
    BLOCKS,
    DEVICE,
    PAGE,
    PAGES,
    REPLY,
    SECONDS,
    Counter,
    Hold,
    Source,
    content,
    in_colo,
    page,
    receive_threads,
)

PRECOPY: Final = {0: 1, 1: 2, 2: 3}
AFTER_PRECOPY: Final = [1, 2, 3, 0, 0, 0, 0, 0]
HEADER: Final = packet_size(PAGE)
Mirror = Literal["packet", "deferred"]


@pytest.mark.parametrize("mirror", ["packet", "deferred"])
@pytest.mark.parametrize("channels", [0, 1, 2])
def test_a_checkpoint_reaches_the_guest_as_a_whole(channels: int, mirror: Mirror) -> None:
    """Given COLO, when a checkpoint comes, then the guest holds it after the commit and nothing of it before, and replies are in order."""
    commits: list[tuple[int, bytes, list[int]]] = []

    def on_commit(commit: Commit) -> None:
        commits.append((commit.index, commit.device_state, content(commit.blocks[BLOCK])))

    with Destination(BLOCKS, channels, colo=True, mirror=mirror, on_commit=on_commit) as destination:
        source = Source(destination, channels)
        in_colo(source, PRECOPY)
        assert content(destination.guest(BLOCK)) == AFTER_PRECOPY
        assert content(destination.cache(BLOCK)) == AFTER_PRECOPY
        source.begin_checkpoint()
        if channels:
            source.put("mfd0", source.pages("mfd0", {1: 7}, (2,)))
        else:
            source.main(stream.page_record(BLOCK, PAGE, page(7)), stream.zero_record(BLOCK, 2 * PAGE))
        source.end_checkpoint(b"second")
        source.expect(ColoMessage.VMSTATE_RECEIVED, ColoMessage.VMSTATE_LOADED)
        assert content(destination.guest(BLOCK)) == [1, 7, 0, 0, 0, 0, 0, 0]
        assert not destination.dirty(BLOCK).any()
        source.close()
    assert [(index, pages) for index, _, pages in commits] == [(0, AFTER_PRECOPY), (1, [1, 7, 0, 0, 0, 0, 0, 0])]
    assert [state for _, state, _ in commits] == [stream.device_sections(DEVICE), stream.device_sections(b"second")]
    assert not receive_threads()


def test_a_flush_undoes_what_the_guest_has_written() -> None:
    """Given pages that only the guest wrote, told or asked for, when a checkpoint commits, then they hold the primary's content again."""
    guest = Counter()
    with Destination(BLOCKS, 1, colo=True, guest=guest) as destination:
        source = Source(destination, 1)
        in_colo(source, PRECOPY)
        memory = destination.guest(BLOCK).reshape(-1, PAGE)
        memory[[0, 5, 6]] = 9
        guest.written[[0, 5]] = True
        destination.guest_wrote(BLOCK, np.arange(PAGES) == 6)
        assert destination.own_dirty(BLOCK).nonzero()[0].tolist() == [6]
        memory[7] = 8
        source.begin_checkpoint()
        source.end_checkpoint()
        source.expect(ColoMessage.VMSTATE_RECEIVED, ColoMessage.VMSTATE_LOADED)
        # Page 7 was written behind the back of the dirty log, so it stays: the flush copies what is dirty and no more.
        assert content(destination.guest(BLOCK)) == [1, 2, 3, 0, 0, 0, 0, 8]
        assert guest.calls == ["run", "stop", "run"]
        source.close()


def out_of_phase(source: Source) -> None:
    source.put("mfd0", source.pages("mfd0", {0: 9}))


def sync_out_of_phase(source: Source) -> None:
    source.sync("mfd0")


def damaged_packet(at: int, value: int) -> Callable[[Source], None]:
    def damaged(source: Source) -> None:
        source.begin_checkpoint()
        source.put("mfd0", source.pages("mfd0", {3: 9}))
        packet = bytearray(source.pages("mfd0", {0: 9, 1: 9}))
        packet[at] = value
        source.put("mfd0", bytes(packet))

    return damaged


def cut_payload(source: Source) -> None:
    source.begin_checkpoint()
    source.put("mfd0", source.pages("mfd0", {0: 9, 1: 9})[: HEADER + PAGE + 100])
    source.ends["mfd0"].close()


def lost_channel(source: Source) -> None:
    source.begin_checkpoint()
    source.ends["mfd1"].close()


def lost_main(source: Source) -> None:
    source.ends["main"].close()


def unknown_message(source: Source) -> None:
    source.main(stream.be32(7))


def unexpected_message(source: Source) -> None:
    source.main(REPLY[ColoMessage.VMSTATE_SEND])


def early_section(source: Source) -> None:
    source.main(REPLY[ColoMessage.CHECKPOINT_REQUEST], REPLY[ColoMessage.VMSTATE_SEND], bytes([SectionType.START]))


def checkpoint_with_state(*state: bytes) -> Callable[[Source], None]:
    def sent(source: Source) -> None:
        source.begin_checkpoint()
        source.put("mfd0", source.pages("mfd0", {0: 9}))
        source.end_round()
        source.main(stream.ram_close(), bytes([SectionType.EOF]), REPLY[ColoMessage.VMSTATE_SIZE], *state)

    return sent


BAD: Final[dict[str, tuple[Callable[[Source], None], Reason, str]]] = {
    "pages between checkpoints": (out_of_phase, Reason.PACKET_OUT_OF_PHASE, "mfd0"),
    "SYNC between checkpoints": (sync_out_of_phase, Reason.PACKET_OUT_OF_PHASE, "mfd0"),
    "magic": (damaged_packet(0, 0), Reason.PACKET_MAGIC, "mfd0"),
    "payload size": (damaged_packet(23, 1), Reason.PAYLOAD_SIZE, "mfd0"),
    "alignment": (damaged_packet(327, 1), Reason.PAGE_ALIGNMENT, "mfd0"),
    "wrap-around": (damaged_packet(320, 0xFF), Reason.PAGE_RANGE, "mfd0"),
    "page twice": (damaged_packet(334, 0), Reason.PAGE_REPEATED, "mfd0"),
    "cut in a page": (cut_payload, Reason.TRUNCATED, "mfd0"),
    "a channel closed": (lost_channel, Reason.CHANNEL_LOST, "mfd1"),
    "the main channel closed": (lost_main, Reason.CHANNEL_LOST, "main"),
    "message 7": (unknown_message, Reason.COLO_MESSAGE_UNKNOWN, "main"),
    "message out of order": (unexpected_message, Reason.COLO_MESSAGE_UNEXPECTED, "main"),
    "START in a checkpoint": (early_section, Reason.SECTION_TYPE, "main"),
    "device state of 0 bytes": (checkpoint_with_state(stream.be64(0)), Reason.DEVICE_STATE_SIZE, "main"),
    "device state too large": (checkpoint_with_state(stream.be64(1001)), Reason.DEVICE_STATE_SIZE, "main"),
    "device state without end": (checkpoint_with_state(stream.be64(2), b"ab"), Reason.SECTION_TYPE, "main"),
    "device state cut": (checkpoint_with_state(stream.be64(9), b"ab"), Reason.TRUNCATED, "main"),
    "device state refused": (checkpoint_with_state(stream.be64(4), b"bad\0"), Reason.DEVICE_STATE_REFUSED, ""),
}


def refuse_bad(state: bytes) -> None:
    if state.startswith(b"bad"):
        raise ValueError("no such device")


@pytest.mark.parametrize(("bad", "reason", "channel"), BAD.values(), ids=BAD)
def test_bad_input_of_a_checkpoint_leaves_the_guest_alone(bad: Callable[[Source], None], reason: Reason, channel: str) -> None:
    """Given COLO, when a checkpoint is bad, then the reason says why, guest RAM is the last commit, and failover still works."""
    with Destination(BLOCKS, 2, colo=True, validate=refuse_bad, limits=Limits(device_state=1000)) as destination:
        source = Source(destination, 2)
        in_colo(source, PRECOPY)
        bad(source)
        if reason is Reason.TRUNCATED and channel == "main":
            source.ends["main"].close()
        with pytest.raises(Rejected) as caught:
            destination.wait(SECONDS)
        assert (caught.value.reason, caught.value.channel) == (reason, channel)
        assert destination.phase in {Phase.IDLE, Phase.RECEIVING, Phase.RECEIVED}
        assert not receive_threads()
        assert content(destination.guest(BLOCK)) == AFTER_PRECOPY
        destination.failover(SECONDS)
        outcome = destination.wait(SECONDS)
        assert (outcome.phase, outcome.commit, str(outcome.error)) == (Phase.FAILOVER, 0, str(caught.value))
        assert content(destination.guest(BLOCK)) == AFTER_PRECOPY
        source.close()


def test_a_good_checkpoint_is_not_refused() -> None:
    """Given the same limits and hooks (control), when a good checkpoint of every step comes, then it commits."""
    with Destination(BLOCKS, 2, colo=True, validate=refuse_bad, limits=Limits(device_state=1000)) as destination:
        source = Source(destination, 2)
        in_colo(source, PRECOPY)
        checkpoint_with_state(stream.be64(1000), bytes(1000))(source)
        source.expect(ColoMessage.VMSTATE_RECEIVED, ColoMessage.VMSTATE_LOADED)
        assert content(destination.guest(BLOCK))[0] == 9
        source.close()


@pytest.mark.parametrize("channels", [0, 2])
def test_an_error_in_precopy_fails_the_migration(channels: int) -> None:
    """Given precopy, when the main channel ends in it, then the phase is FAILED, failover is refused, and all is freed."""
    with Destination(BLOCKS, channels, colo=True) as destination:
        source = Source(destination, channels)
        source.begin()
        source.ends["main"].close()
        with pytest.raises(Rejected, match="channel-lost on main"):
            destination.wait(SECONDS)
        assert destination.phase is Phase.FAILED
        assert not receive_threads()
        with pytest.raises(RuntimeError, match="it needs COLO to have begun"):
            destination.failover(SECONDS)
        source.close()


def test_the_barrier_is_woken_by_a_dying_channel() -> None:
    """Given MULTIFD_FLUSH and one SYNC, when the other channel ends in plain precopy, then the barrier reports it instead of hanging."""
    with Destination(BLOCKS, 2) as destination:
        source = Source(destination, 2)
        source.begin()
        source.main(stream.flush())
        source.sync("mfd0")
        source.ends["mfd1"].close()
        with pytest.raises(Rejected, match="channel-lost on mfd1"):
            destination.wait(SECONDS)
        source.close()


def test_pages_before_the_block_list_are_refused() -> None:
    """Given no block list yet, when a packet of pages comes, then it is out of phase, and nothing is written."""
    with Destination(BLOCKS, 1) as destination:
        source = Source(destination, 1)
        source.main(stream.stream_header("none"))
        source.put("mfd0", source.pages("mfd0", {0: 1}))
        with pytest.raises(Rejected, match="packet-out-of-phase on mfd0 at byte 64"):
            destination.wait(SECONDS)
        assert content(destination.guest(BLOCK)) == [0] * PAGES
        source.close()


def test_pages_that_no_flush_follows_are_refused() -> None:
    """Given pages after the last MULTIFD_FLUSH, when the checkpoint would be complete, then it is refused."""
    hold = Hold(Step.CHECKPOINT_RECEIVED, "main")
    landed = threading.Event()

    def trace(event: Event) -> None:
        if event.step is Step.PACKET_DONE:
            landed.set()

    with Destination(BLOCKS, 1, colo=True, trace=trace, gate=hold) as destination:
        source = Source(destination, 1)
        in_colo(source, PRECOPY)
        landed.clear()
        source.begin_checkpoint()
        source.end_checkpoint()
        hold.wait()
        source.put("mfd0", source.pages("mfd0", {0: 9}))
        assert landed.wait(SECONDS)
        hold.go.set()
        with pytest.raises(Rejected, match="flush-missing on main"):
            destination.wait(SECONDS)
        assert content(destination.guest(BLOCK)) == AFTER_PRECOPY
        source.close()


def test_a_sync_without_a_flush_is_refused() -> None:
    """Given a channel that has said SYNC once more than MULTIFD_FLUSH came, when precopy ends, then it is refused."""
    third = threading.Event()
    parks: list[str] = []

    def trace(event: Event) -> None:
        if event.step is Step.PARK:
            parks.append(event.channel)
            if len(parks) == 3:
                third.set()

    with Destination(BLOCKS, 1, trace=trace) as destination:
        source = Source(destination, 1)
        source.begin()
        source.sync()
        source.end_round()
        assert third.wait(SECONDS)
        source.main(stream.ram_close(), stream.ram_continue(SectionType.END), stream.ram_close())
        source.main(stream.device_sections(DEVICE), stream.description(len(DEVICE), PAGE))
        with pytest.raises(Rejected, match="packet-out-of-phase on mfd0 at byte 2752: read SYNC without"):
            destination.wait(SECONDS)
        source.close()
