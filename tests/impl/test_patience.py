"""Nothing waits for ever: deadlines, leases, hooks, and what is freed at the end."""

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from colofd.conformance import stream
from colofd.impl import Deadlines, Destination, Event, Phase
from colofd.spec.constants import ColoMessage, Compression, SectionType, Step
from colofd.spec.reasons import Reason, Rejected
from tests.impl.source import BLOCK, BLOCKS, PAGE, PAGES, SECONDS, Counter, Hold, Source, content, in_colo, receive_threads

SHORT: Final = 0.1
PRECOPY: Final = {0: 1, 1: 2, 2: 3}
LAST_COMMIT: Final = [1, 2, 3, 0, 0, 0, 0, 0]


def magic_only(source: Source) -> None:
    source.main(b"QEVM")


def half_a_packet(source: Source) -> None:
    source.begin()
    source.put("mfd0", source.pages("mfd0", PRECOPY)[:2000])


def flush_without_sync(source: Source) -> None:
    source.begin()
    source.sync("mfd0")
    source.main(stream.flush())


@pytest.mark.parametrize("said", [magic_only, half_a_packet, flush_without_sync])
def test_a_silent_peer_is_given_up_in_precopy(said: Callable[[Source], None]) -> None:
    """Given a peer that falls silent in precopy, when the deadline has passed, then it is an error, and all threads end."""
    with Destination(BLOCKS, 2, deadlines=Deadlines(progress=SHORT)) as destination:
        source = Source(destination, 2)
        said(source)
        with pytest.raises(Rejected, match="deadline on main"):
            destination.wait(SECONDS)
        assert destination.phase is Phase.FAILED
        assert not receive_threads()
        source.close()


@pytest.mark.parametrize(("deadlines", "begins"), [(Deadlines(idle=SHORT), False), (Deadlines(progress=SHORT), True)])
def test_a_silent_primary_is_given_up_in_colo(deadlines: Deadlines, begins: bool) -> None:
    """Given a primary that falls silent, between checkpoints or in one, when its deadline has passed, then failover can follow."""
    with Destination(BLOCKS, 1, colo=True, deadlines=deadlines) as destination:
        source = Source(destination, 1)
        in_colo(source, PRECOPY)
        if begins:
            source.begin_checkpoint()
        with pytest.raises(Rejected, match="deadline on main"):
            destination.wait(SECONDS)
        destination.failover(SECONDS)
        assert content(destination.guest(BLOCK)) == LAST_COMMIT
        source.close()


@pytest.mark.parametrize("said", [b"", b"QE", stream.hello(0)[:20]])
def test_channels_that_do_not_come_are_given_up(said: bytes) -> None:
    """Given a missing channel, or one that does not say which it is, when the deadline has passed, then it is an error."""
    with Destination(BLOCKS, 1, deadlines=Deadlines(connect=SHORT)) as destination:
        near, far = socket.socketpair()
        near.sendall(said)
        destination.attach(far)
        with pytest.raises(Rejected) as caught:
            destination.wait(SECONDS)
        assert caught.value.reason is Reason.DEADLINE
        near.close()
    assert not receive_threads()


@pytest.mark.parametrize(
    ("hellos", "reason"),
    [
        ((stream.hello(0), stream.hello(0)), Reason.CHANNEL_REPEATED),
        ((b"QEVM", b"QEVM"), Reason.CHANNEL_REPEATED),
        ((stream.hello(2),), Reason.CHANNEL_ID),
        ((b"GET ",), Reason.CHANNEL_MAGIC),
    ],
)
def test_connections_that_are_no_channel_are_refused(hellos: tuple[bytes, ...], reason: Reason) -> None:
    """Given two channels to come, when a connection repeats one or is none, then it is refused."""
    with Destination(BLOCKS, 2) as destination:
        ends = [socket.socketpair() for _ in hellos]
        for (near, far), hello in zip(ends, hellos, strict=True):
            near.sendall(hello)
            destination.attach(far)
        with pytest.raises(Rejected) as caught:
            destination.wait(SECONDS)
        assert caught.value.reason is reason
        for near, _ in ends:
            near.close()


def test_a_lease_holds_a_flush_up() -> None:
    """Given a snapshot, when a checkpoint is there, then its answer waits for the lease, and comes when it is given back."""
    received = threading.Event()
    hold = Hold(Step.ANSWER, "main")

    def trace(event: Event) -> None:
        if event.step is Step.CHECKPOINT_RECEIVED:
            received.set()

    with Destination(BLOCKS, 1, colo=True, trace=trace, gate=hold) as destination:
        source = Source(destination, 1)
        in_colo(source, PRECOPY)
        snapshot = destination.snapshot()
        source.begin_checkpoint()
        source.put("mfd0", source.pages("mfd0", {0: 7}))
        source.end_checkpoint()
        assert received.wait(SECONDS)
        assert not hold.arrived.is_set()
        assert content(snapshot.block(BLOCK)) == LAST_COMMIT
        snapshot.release()
        hold.wait()
        hold.go.set()
        source.expect(ColoMessage.VMSTATE_RECEIVED, ColoMessage.VMSTATE_LOADED)
        assert snapshot.ended == "returned"
        with destination.snapshot() as later:
            assert (later.index, content(later.block(BLOCK))[0]) == (1, 7)
        source.close()


def test_a_lease_lapses() -> None:
    """Given a snapshot that is never given back, when the flush has waited long enough, then the lease says so and is not readable."""
    with Destination(BLOCKS, 1, colo=True, deadlines=Deadlines(lease=SHORT)) as destination:
        source = Source(destination, 1)
        in_colo(source, PRECOPY)
        snapshot = destination.snapshot()
        assert not snapshot.block(BLOCK).flags.writeable
        source.begin_checkpoint()
        source.end_checkpoint()
        source.expect(ColoMessage.VMSTATE_RECEIVED, ColoMessage.VMSTATE_LOADED)
        assert snapshot.ended == "lapsed"
        with pytest.raises(Rejected, match="the lease of commit 0 has lapsed"):
            snapshot.block(BLOCK)
        source.close()


def test_a_lease_does_not_hold_up_failover() -> None:
    """Given an answer that waits for a lease, when failover comes, then it does not wait, and the lease has ended."""
    received = threading.Event()

    def trace(event: Event) -> None:
        if event.step is Step.CHECKPOINT_RECEIVED:
            received.set()

    with Destination(BLOCKS, 1, colo=True, trace=trace) as destination:
        source = Source(destination, 1)
        in_colo(source, PRECOPY)
        snapshot = destination.snapshot()
        source.begin_checkpoint()
        source.put("mfd0", source.pages("mfd0", {0: 7}))
        source.end_checkpoint()
        assert received.wait(SECONDS)
        destination.failover(SECONDS)
        assert snapshot.ended == "closed"
        assert content(destination.guest(BLOCK)) == LAST_COMMIT
        source.close()


def test_memory_belongs_to_who_still_holds_it() -> None:
    """Given views of guest and cache, when the destination is closed, then it says who holds what, and the views stay readable."""
    destination = Destination(BLOCKS, 1, colo=True)
    source = Source(destination, 1)
    in_colo(source, PRECOPY)
    guest, cache = destination.guest(BLOCK), destination.cache(BLOCK)
    ownership = destination.close()
    assert (ownership.guest, ownership.cache) == (True, True)
    assert content(guest) == content(cache) == LAST_COMMIT
    for read in (destination.guest, destination.cache, destination.received, destination.dirty):
        with pytest.raises(Rejected, match="closed"):
            read(BLOCK)
    source.close()


class FaultError(Exception):
    """What a failing hook raises."""


def fail(*_arguments: object) -> None:
    raise FaultError


class FailingGuest(Counter):
    """A guest that cannot be stopped."""

    def stop(self) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.bool_]]]:
        """Fail."""
        raise FaultError


class WrongGuest(Counter):
    """A guest whose mask has another shape."""

    def stop(self) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.bool_]]]:
        """Return a mask of too many pages."""
        return {BLOCK: np.zeros(PAGES + 1, np.bool_)}


@pytest.mark.parametrize("guest", [FailingGuest(), WrongGuest()])
def test_a_failing_guest_is_the_embedders_error(guest: Counter) -> None:
    """Given a guest that cannot be stopped, when a checkpoint is to be flushed, then guest RAM stays, and failover works."""
    with Destination(BLOCKS, 1, colo=True, guest=guest) as destination:
        source = Source(destination, 1)
        in_colo(source, PRECOPY)
        source.begin_checkpoint()
        source.put("mfd0", source.pages("mfd0", {0: 7}))
        source.end_checkpoint()
        with pytest.raises(Rejected, match="embedder"):
            destination.wait(SECONDS)
        destination.failover(SECONDS)
        assert content(destination.guest(BLOCK)) == LAST_COMMIT
        source.close()


def test_a_failing_trace_does_not_stop_a_flush() -> None:
    """Given a trace hook that fails in a flush, when a checkpoint comes, then the flush ends, and the failure is reported."""

    def trace(event: Event) -> None:
        if event.step is Step.FLUSH_BEGIN:
            raise FaultError

    with Destination(BLOCKS, 1, colo=True, trace=trace) as destination:
        source = Source(destination, 1)
        in_colo(source, PRECOPY)
        source.begin_checkpoint()
        source.put("mfd0", source.pages("mfd0", {0: 7}))
        source.end_checkpoint()
        with pytest.raises(Rejected, match="embedder: trace or gate raised FaultError"):
            destination.wait(SECONDS)
        assert content(destination.guest(BLOCK))[0] == 7
        destination.failover(SECONDS)
        source.close()


@pytest.mark.parametrize("colo", [True, False])
def test_a_failing_commit_hook_is_reported(colo: bool) -> None:
    """Given an on_commit hook that fails, when precopy has ended, then the error is reported, with COLO and without."""
    with Destination(BLOCKS, 1, colo=colo, on_commit=fail) as destination:
        source = Source(destination, 1)
        source.begin()
        source.end_precopy()
        with pytest.raises(Rejected, match="embedder: on_commit raised FaultError"):
            destination.wait(SECONDS)
        source.close()


@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_listening(kind: str, tmp_path: Path) -> None:
    """Given an address, when a source connects to it channel by channel, main last, then the migration completes."""
    with Destination(BLOCKS, 1) as destination:
        address = destination.listen(f"unix:{tmp_path}/socket" if kind == "unix" else "tcp:127.0.0.1:0")
        place = address.partition(":")[2]
        ends = []
        for _ in range(2):
            if kind == "unix":
                end = socket.socket(socket.AF_UNIX)
                end.connect(place)
            else:
                host, _, port = place.rpartition(":")
                end = socket.create_connection((host, int(port)))
            ends.append(end)
        writer = stream.PacketWriter(Compression.NONE, PAGE)
        ends[0].sendall(stream.hello(0) + writer.sync() + writer.pages(BLOCK, [(0, b"\1" * PAGE)], []) + writer.sync())
        ends[1].sendall(main_channel())
        assert destination.wait(SECONDS).phase is Phase.COMPLETED
        assert content(destination.guest(BLOCK))[0] == 1
        for end in ends:
            end.close()
    assert not (tmp_path / "socket").exists()


def main_channel() -> bytes:
    """Return a whole main channel with two rounds."""
    return (
        stream.stream_header("none")
        + stream.ram_start([(BLOCK, PAGES * PAGE)])
        + stream.flush()
        + stream.ram_close()
        + stream.ram_continue(SectionType.END)
        + stream.flush()
        + stream.ram_close()
        + stream.device_sections(b"state")
        + stream.description(5, PAGE)
    )


def test_a_late_connection_is_refused() -> None:
    """Given all channels, when one more connects, then it is refused, and the migration goes on."""
    with Destination(BLOCKS, 1, colo=True) as destination:
        source = Source(destination, 1)
        in_colo(source, PRECOPY)
        near, far = socket.socketpair()
        with pytest.raises(Rejected, match="channel-repeated"):
            destination.attach(far)
        assert not near.recv(1)
        near.close()
        source.begin_checkpoint()
        source.close()
