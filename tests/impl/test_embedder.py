"""A careless embedding program: hooks that exit, late calls, sockets and views in the wrong hands."""

import math
import socket
import sys
import threading
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pytest

from colofd.conformance import stream
from colofd.impl import Commit, Deadlines, Destination, Event, Ownership
from colofd.impl.colo import copy_pages
from colofd.impl.memory import Layout, Region
from colofd.spec.constants import ColoMessage, Step
from colofd.spec.reasons import Reason, Rejected
from tests.impl.source import BLOCK, BLOCKS, PAGE, SECONDS, Counter, Hold, Source, content, in_colo, receive_threads

PRECOPY: Final = {0: 1, 1: 2, 2: 3}
LAST_COMMIT: Final = [1, 2, 3, 0, 0, 0, 0, 0]
FREED: Final = Ownership(guest=False, cache=False)
SHORT: Final = 0.1


def send_checkpoint(source: Source, pages: dict[int, int]) -> None:
    source.begin_checkpoint()
    source.put("mfd0", source.pages("mfd0", pages))
    source.end_checkpoint()


def test_a_hook_that_exits_ends_the_migration_and_holds_no_memory() -> None:
    """Given an on_commit hook that calls sys.exit, when COLO begins, then wait says so, failover works, and all memory is freed."""

    def leave(_commit: Commit) -> None:
        sys.exit(3)

    destination = Destination(BLOCKS, 1, colo=True, on_commit=leave)
    source = Source(destination, 1)
    source.begin()
    source.end_precopy()
    with pytest.raises(Rejected, match="embedder: on_commit raised SystemExit"):
        destination.wait(SECONDS)
    destination.failover(SECONDS)
    assert destination.close() == FREED
    source.close()


def test_a_trace_that_exits_does_not_stop_a_flush() -> None:
    """Given a trace that calls sys.exit when a flush begins, when failover comes, then the flush has ended, and the commit is whole."""

    def leave(event: Event) -> None:
        if event.step is Step.FLUSH_BEGIN:
            sys.exit(3)

    with Destination(BLOCKS, 1, colo=True, trace=leave) as destination:
        source = Source(destination, 1)
        in_colo(source, PRECOPY)
        send_checkpoint(source, {0: 7})
        with pytest.raises(Rejected, match="embedder: trace or gate raised SystemExit"):
            destination.wait(SECONDS)
        destination.failover(SECONDS)
        assert content(destination.guest(BLOCK)) == [7, 2, 3, 0, 0, 0, 0, 0]
        source.close()


def test_failover_does_not_run_the_guest_while_a_commit_is_told() -> None:
    """Given on_commit at work, when failover comes, then the guest runs only when the hook has returned."""
    calls: list[str] = []
    told, go = threading.Event(), threading.Event()

    class Recorded(Counter):
        def run(self) -> None:
            calls.append("run")

    def on_commit(commit: Commit) -> None:
        if commit.index:
            told.set()
            go.wait(SECONDS)
            calls.append("told")

    with Destination(BLOCKS, 1, colo=True, guest=Recorded(), on_commit=on_commit) as destination:
        source = Source(destination, 1)
        in_colo(source, PRECOPY)
        send_checkpoint(source, {0: 7})
        assert told.wait(SECONDS)
        caller = threading.Thread(target=destination.failover, args=(SECONDS,))
        caller.start()
        caller.join(SHORT)
        assert calls == ["run"]
        go.set()
        caller.join(SECONDS)
        assert calls == ["run", "told", "run"]
        source.close()


def test_a_second_failover_ends_what_the_first_could_not() -> None:
    """Given a hook that outlasts a failover, when failover is called again, then it does not return before all threads have ended."""
    hold = Hold(Step.CHECKPOINT_RECEIVED, "main")
    with Destination(BLOCKS, 1, colo=True, gate=hold) as destination:
        source = Source(destination, 1)
        in_colo(source, PRECOPY)
        send_checkpoint(source, {0: 7})
        hold.wait()
        for _ in range(2):
            with pytest.raises(Rejected, match="embedder: read colofd main still in a hook"):
                destination.failover(SHORT)
        hold.go.set()
        destination.failover(SECONDS)
        assert not receive_threads()
        with pytest.raises(Rejected, match="there is no cache"):
            destination.cache(BLOCK)
        source.close()


def test_a_guest_that_reports_nothing_is_the_embedders_error() -> None:
    """Given guest.stop that returns None, when the destination is closed, then that is said, and everything has ended all the same."""

    class Forgetful(Counter):
        def stop(self) -> dict[str, npt.NDArray[np.bool_]]:
            return None  # type: ignore[return-value]  # that is the mistake

    destination = Destination(BLOCKS, 1, colo=True, guest=Forgetful())
    source = Source(destination, 1)
    in_colo(source, PRECOPY)
    with pytest.raises(Rejected, match=r"embedder: guest\.stop raised AttributeError"):
        destination.close()
    assert not receive_threads()
    assert destination.close() == FREED
    source.close()


def test_a_socket_belongs_to_the_destination() -> None:
    """Given a socket that the caller closes after attach, when its peer speaks, then it is heard."""
    with Destination(BLOCKS, 0) as destination:
        near, far = socket.socketpair()
        with far:
            destination.attach(far)
        near.sendall(b"QEVM\0\0\0\1")
        with pytest.raises(Rejected, match="stream-version on main at byte 4"):
            destination.wait(SECONDS)
        near.close()


def test_listening_ends_with_the_destination(tmp_path: Path) -> None:
    """Given two addresses, when the destination is closed, then both are free again, and listening once more is refused."""
    first, second = tmp_path / "first", tmp_path / "second"
    destination = Destination(BLOCKS, 1)
    destination.listen(f"unix:{first}")
    destination.listen(f"unix:{second}")
    destination.close()
    with pytest.raises(Rejected, match="closed: read listen in phase failed"):
        destination.listen(f"unix:{first}")
    assert not first.exists()
    assert not second.exists()
    assert not receive_threads()


def test_memory_is_not_freed_while_a_view_of_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a caller who asks for guest RAM, when another closes the destination at this moment, then it is RAM or CLOSED, no crash."""
    bytes_of = Layout.bytes_of
    with Destination(BLOCKS, 1, colo=True) as destination:
        source = Source(destination, 1)
        in_colo(source, PRECOPY)
        closer = threading.Thread(target=destination.close)

        def interrupted(layout: Layout, region: Region, name: str, *, writable: bool = False) -> npt.NDArray[np.uint8]:
            closer.start()
            closer.join(SHORT)
            return bytes_of(layout, region, name, writable=writable)

        monkeypatch.setattr(Layout, "bytes_of", interrupted)
        assert content(destination.guest(BLOCK)) == LAST_COMMIT
        closer.join(SECONDS)
        assert not closer.is_alive()
        source.close()


def test_an_error_that_was_raised_holds_no_view() -> None:
    """Given a caller with a view of RAM whom wait has told an error, when the caller has returned, then close frees that memory."""

    def caller() -> int:
        memory = destination.guest(BLOCK)
        with pytest.raises(Rejected, match="channel-lost"):
            destination.wait(SECONDS)
        return len(memory)

    destination = Destination(BLOCKS, 1, colo=True)
    source = Source(destination, 1)
    in_colo(source, PRECOPY)
    source.close()
    assert caller()
    assert destination.close() == FREED


def test_a_lease_that_is_granted_after_an_error_ends_when_the_flush_begins() -> None:
    """Given an error while a flush is about to begin, when a lease is granted then, then it has lapsed once RAM changes."""
    hold = Hold(Step.FLUSH_BEGIN, "main")
    with Destination(BLOCKS, 1, colo=True, gate=hold) as destination:
        source = Source(destination, 1)
        in_colo(source, PRECOPY)
        send_checkpoint(source, {0: 7})
        hold.wait()
        source.ends["mfd0"].close()
        with pytest.raises(Rejected, match="channel-lost on mfd0"):
            destination.wait_checkpoint(1, SECONDS)
        snapshot = destination.snapshot()
        assert content(snapshot.block(BLOCK)) == LAST_COMMIT
        hold.go.set()
        # Returns when all threads have ended, and so has the flush.
        with pytest.raises(Rejected, match="channel-lost on mfd0"):
            destination.wait(SECONDS)
        assert content(destination.guest(BLOCK))[0] == 7
        assert snapshot.ended == "lapsed"
        source.close()


def test_a_flush_ends_although_there_is_no_second_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a process that may start no more threads, when a large flush wants a second one, then it copies everything alone."""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    guest, cache = Region(8, PAGE), Region(8, PAGE)
    cache.rows[:] = 7
    monkeypatch.setattr(threading.Thread, "start", refuse)
    copy_pages(guest, cache, np.ones(8, np.bool_), two_threads=True)
    assert content(guest.rows) == [7] * 8


def test_an_error_of_the_peer_is_no_error_of_the_embedder() -> None:
    """Given hooks that return (control), when the peer is wrong, then the reason is the peer's."""
    with Destination(BLOCKS, 1, colo=True, on_commit=lambda _commit: None, trace=lambda _event: None) as destination:
        source = Source(destination, 1)
        in_colo(source, PRECOPY)
        source.main(stream.colo_message(ColoMessage.VMSTATE_SEND))
        with pytest.raises(Rejected) as caught:
            destination.wait(SECONDS)
        assert caught.value.reason is Reason.COLO_MESSAGE_UNEXPECTED
        source.close()


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.inf, math.nan])
@pytest.mark.parametrize("name", ["connect", "progress", "idle", "lease"])
def test_a_deadline_that_no_clock_can_tell_is_refused(name: str, seconds: float) -> None:
    """Given a deadline of no or of infinite length, when it is made, then that is refused, before a thread could fail of it."""
    with pytest.raises(ValueError, match=f"the deadline {name} must be"):
        Deadlines(**{name: seconds})


def test_a_failover_may_wait_for_ever() -> None:
    """Given no bound in time, when failover and close are called, then they do their work as with one."""
    destination = Destination(BLOCKS, 1, colo=True)
    source = Source(destination, 1)
    in_colo(source, PRECOPY)
    destination.failover(math.inf)
    assert destination.close(math.inf) == FREED
    source.close()
