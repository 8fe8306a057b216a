"""Failover at any micro-step: it always completes, and leaves the last commit."""

import threading
from typing import Final

import numpy as np
import numpy.typing as npt
import pytest

from colofd.conformance import stream
from colofd.impl import Deadlines, Destination, Event, Outcome, Phase
from colofd.spec.constants import ColoMessage, SectionType, Step
from colofd.spec.reasons import Reason, Rejected
from tests.impl.source import BLOCK, BLOCKS, DEVICE, PAGES, SECONDS, Counter, Hold, Source, content, in_colo, receive_threads

PRECOPY: Final = {0: 1, 1: 2, 2: 3}
LAST_COMMIT: Final = [1, 2, 3, 0, 0, 0, 0, 0]
CHECKPOINT: Final = [7, 0, 3, 0, 0, 0, 0, 0]


def fail_over_in_background(destination: Destination) -> threading.Thread:
    caller = threading.Thread(target=destination.failover, args=(SECONDS,))
    caller.start()
    return caller


HELD_IN_A_CHECKPOINT: Final = [
    (Step.PREPARE, "mfd0"),
    (Step.ZERO_PAGE, "mfd0"),
    (Step.READ_PAGE, "mfd0"),
    (Step.PAYLOAD_COMPLETE, "mfd0"),
    (Step.MIRROR, "mfd0"),
    (Step.PACKET_DONE, "mfd0"),
    (Step.PARK, "mfd0"),
    (Step.RELEASE, "main"),
    (Step.CHECKPOINT_RECEIVED, "main"),
    (Step.ANSWER, "main"),
]


@pytest.mark.parametrize(("step", "channel"), HELD_IN_A_CHECKPOINT)
def test_failover_drops_a_checkpoint_that_is_not_committed(step: Step, channel: str) -> None:
    """Given a thread held at a micro-step of a checkpoint, when failover comes, then the guest keeps the last commit."""
    events: list[Event] = []
    taken_over = threading.Event()
    hold, guest = Hold(step, channel), Counter()
    # The rounds that end precopy come first: the gate is armed when the checkpoint begins.
    is_armed = threading.Event()

    def gate(at: Step, name: str) -> None:
        if at is Step.CHECKPOINT_BEGIN:
            is_armed.set()
        if is_armed.is_set():
            hold(at, name)

    def trace(event: Event) -> None:
        events.append(event)
        if event.step is Step.TAKE_OVER:
            taken_over.set()

    with Destination(BLOCKS, 2, colo=True, guest=guest, trace=trace, gate=gate) as destination:
        source = Source(destination, 2)
        in_colo(source, PRECOPY)
        source.begin_checkpoint()
        source.put("mfd0", source.pages("mfd0", {0: 7}, (1,)))
        source.end_checkpoint()
        hold.wait()
        caller = fail_over_in_background(destination)
        assert taken_over.wait(SECONDS)
        assert content(destination.guest(BLOCK)) == LAST_COMMIT
        hold.go.set()
        caller.join(SECONDS)
        assert not caller.is_alive()
        assert content(destination.guest(BLOCK)) == LAST_COMMIT
        assert destination.phase is Phase.FAILOVER
        assert not receive_threads()
        source.close()
    steps = [event.step for event in events]
    exits = [index for index, at in enumerate(steps) if at is Step.EXIT]
    assert len(exits) == 3
    assert max(exits) < steps.index(Step.RELEASE_CACHE) < steps.index(Step.RELEASE_RECEIVEDMAP)
    assert guest.calls == ["run"]


@pytest.mark.parametrize("step", [Step.FLUSH_BEGIN, Step.FLUSH_PAGE, Step.COMMIT])
def test_failover_waits_for_the_commit_of_what_was_answered(step: Step) -> None:
    """Given a checkpoint that was answered, when failover comes, then it takes over only after the commit, which is whole."""
    hold, guest = Hold(step, "main"), Counter()
    with Destination(BLOCKS, 1, colo=True, guest=guest, gate=hold) as destination:
        source = Source(destination, 1)
        in_colo(source, PRECOPY)
        source.begin_checkpoint()
        source.put("mfd0", source.pages("mfd0", {0: 7}, (1,)))
        source.end_checkpoint()
        hold.wait()
        caller = fail_over_in_background(destination)
        caller.join(0.05)
        assert destination.phase is (Phase.RECEIVED if step is Step.FLUSH_BEGIN else Phase.FLUSHING)
        assert guest.calls == ["run", "stop"]
        hold.go.set()
        caller.join(SECONDS)
        assert content(destination.guest(BLOCK)) == CHECKPOINT
        assert destination.wait(SECONDS).commit == 1
        assert guest.calls == ["run", "stop", "run"]
        source.close()


class _SlowGuest(Counter):
    """A guest that takes its time to stop."""

    def __init__(self) -> None:
        super().__init__()
        self.is_stopping, self.go = threading.Event(), threading.Event()

    def stop(self) -> dict[str, npt.NDArray[np.bool_]]:
        """Stop, when it is let go."""
        self.is_stopping.set()
        assert self.go.wait(SECONDS), "nobody let the guest stop"
        return super().stop()


def test_who_has_asked_for_failover_gets_no_other_checkpoint() -> None:
    """Given a checkpoint about to be answered whose guest still stops, when failover is asked for, then it is never answered.

    The caller waits for the guest's lock, which the main thread has; he gives up and asks again, which changes nothing.
    """
    guest, steps = _SlowGuest(), list[Step]()
    with Destination(BLOCKS, 1, colo=True, guest=guest, trace=lambda event: steps.append(event.step)) as destination:
        source = Source(destination, 1)
        in_colo(source, PRECOPY)
        source.begin_checkpoint()
        source.put("mfd0", source.pages("mfd0", {0: 7}, (1,)))
        source.end_checkpoint()
        assert guest.is_stopping.wait(SECONDS)
        with pytest.raises(Rejected) as refused:
            destination.failover(0.05)
        assert refused.value.reason is Reason.EMBEDDER
        guest.go.set()
        destination.failover(SECONDS)
        assert content(destination.guest(BLOCK)) == LAST_COMMIT
        assert destination.wait(SECONDS) == Outcome(Phase.FAILOVER, 0, None)
        assert guest.calls == ["run", "stop", "run"]
        source.close()
    assert Step.ANSWER not in steps


def test_a_failover_that_never_comes_is_not_waited_for() -> None:
    """Given a failover that was asked for in vain, when the caller does not ask again, then the main thread ends with that error."""
    guest = _SlowGuest()
    deadlines = Deadlines(progress=0.5)
    with Destination(BLOCKS, 1, colo=True, guest=guest, deadlines=deadlines) as destination:
        source = Source(destination, 1)
        in_colo(source, PRECOPY)
        source.begin_checkpoint()
        source.end_checkpoint()
        assert guest.is_stopping.wait(SECONDS)
        with pytest.raises(Rejected, match="hooks that return"):
            destination.failover(0.05)
        guest.go.set()
        with pytest.raises(Rejected, match="failover was asked for"):
            destination.wait(SECONDS)
        destination.failover(SECONDS)
        assert destination.phase is Phase.FAILOVER
        source.close()


def test_a_failover_before_its_time_changes_nothing() -> None:
    """Given a failover that is refused in precopy, when a checkpoint comes later, then it is answered and committed."""
    with Destination(BLOCKS, 1, colo=True) as destination:
        source = Source(destination, 1)
        source.begin()
        with pytest.raises(RuntimeError, match="it needs COLO to have begun"):
            destination.failover(SECONDS)
        source.end_precopy()
        source.expect(ColoMessage.CHECKPOINT_READY)
        source.begin_checkpoint()
        source.put("mfd0", source.pages("mfd0", {0: 7}))
        source.end_checkpoint()
        source.expect(ColoMessage.VMSTATE_RECEIVED, ColoMessage.VMSTATE_LOADED)
        assert content(destination.guest(BLOCK)) == [7, 0, 0, 0, 0, 0, 0, 0]
        source.close()


def test_failover_completes_although_a_sync_never_comes() -> None:
    """Given MULTIFD_FLUSH and one SYNC of two, when failover comes, then it returns: a real QEMU 11.1.3 hangs here for good."""
    parked = threading.Event()
    in_checkpoint = threading.Event()

    def trace(event: Event) -> None:
        if event.step is Step.CHECKPOINT_BEGIN:
            in_checkpoint.set()
        if event.step is Step.PARK and in_checkpoint.is_set():
            parked.set()

    with Destination(BLOCKS, 2, colo=True, trace=trace) as destination:
        source = Source(destination, 2)
        in_colo(source, PRECOPY)
        source.begin_checkpoint()
        source.put("mfd1", source.pages("mfd1", {0: 7}))
        source.sync("mfd0")
        source.main(stream.flush())
        assert parked.wait(SECONDS)
        destination.failover(SECONDS)
        assert content(destination.guest(BLOCK)) == LAST_COMMIT
        assert not receive_threads()
        source.close()


def test_in_precopy_the_latch_mirrors() -> None:
    """Given precopy (control), when a packet is held before MIRROR, then the guest has it only after that step."""
    hold = Hold(Step.MIRROR, "mfd0")
    with Destination(BLOCKS, 1, colo=True, gate=hold) as destination:
        source = Source(destination, 1)
        source.begin()
        source.put("mfd0", source.pages("mfd0", PRECOPY))
        hold.wait()
        assert content(destination.cache(BLOCK)) == LAST_COMMIT
        assert content(destination.guest(BLOCK)) == [0] * PAGES
        hold.go.set()
        source.end_precopy()
        source.expect(ColoMessage.CHECKPOINT_READY)
        assert content(destination.guest(BLOCK)) == LAST_COMMIT
        source.close()


def test_failover_twice_is_one() -> None:
    """Given a failover, when another is asked for, then nothing more happens."""
    guest = Counter()
    with Destination(BLOCKS, 1, colo=True, guest=guest) as destination:
        source = Source(destination, 1)
        in_colo(source, PRECOPY)
        destination.failover(SECONDS)
        destination.failover(SECONDS)
        assert guest.calls == ["run"]
        source.close()


def test_a_hook_may_not_fail_over() -> None:
    """Given a hook that calls failover, when it is called, then that is refused at once instead of waiting for itself."""
    refusals: list[str] = []

    def validate(_state: bytes) -> None:
        try:
            destination.failover(SECONDS)
        except RuntimeError as error:
            refusals.append(str(error))

    with Destination(BLOCKS, 1, colo=True, validate=validate) as destination:
        source = Source(destination, 1)
        in_colo(source, PRECOPY)
        source.close()
    assert refusals == ["a hook may neither fail over nor close: it runs in a thread that is to be joined"]


def test_close_without_failover_stops_the_guest() -> None:
    """Given COLO, when the destination is closed, then the guest is stopped with the last commit in its RAM, and not run."""
    guest = Counter()
    destination = Destination(BLOCKS, 1, colo=True, guest=guest)
    source = Source(destination, 1)
    in_colo(source, PRECOPY)
    source.begin_checkpoint()
    source.put("mfd0", source.pages("mfd0", {0: 9}))
    memory = destination.guest(BLOCK)
    ownership = destination.close()
    assert (ownership.guest, ownership.cache) == (True, False)
    assert content(memory) == LAST_COMMIT
    assert destination.wait(SECONDS).phase is Phase.STOPPED
    assert guest.calls == ["run", "stop"]
    assert not receive_threads()
    assert destination.close() == ownership
    source.close()


def test_plain_precopy_completes_and_runs_the_guest() -> None:
    """Given no COLO, when precopy ends, then all is here, the guest runs, and the trace ends with every thread's exit."""
    events: list[Event] = []
    guest = Counter()
    with Destination(BLOCKS, 2, guest=guest, trace=events.append) as destination:
        source = Source(destination, 2)
        source.begin()
        source.put("mfd1", source.pages("mfd1", PRECOPY, (5,)))
        source.end_precopy()
        assert destination.wait(SECONDS).phase is Phase.COMPLETED
        with destination.snapshot() as snapshot:
            assert snapshot.device_state == stream.device_sections(DEVICE)
            assert snapshot.device_state[-1] == SectionType.EOF
            assert content(snapshot.block(BLOCK)) == LAST_COMMIT
        assert destination.received(BLOCK).nonzero()[0].tolist() == [0, 1, 2, 5]
        assert not receive_threads()
        source.close()
    assert guest.calls == ["run"]
    assert sorted(event.channel for event in events if event.step is Step.EXIT) == ["main", "mfd0", "mfd1"]
    assert events[-1].step is Step.RELEASE_RECEIVEDMAP
