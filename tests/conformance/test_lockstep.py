"""A subject that does, shows or says something wrong is found out, by the rule that it breaks."""

import socket
import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from colofd.conformance.lockstep import Lockstep
from colofd.conformance.peer import Peer, UnexpectedReply
from colofd.conformance.schedules import Directed, closed_between_checkpoints, failover_when_received, main_channel_pages, run_directed
from colofd.conformance.subjects import BuiltIn, Factory, Observed, Options
from colofd.conformance.violation import Violation
from colofd.spec.constants import MAIN_CHANNEL, ColoMessage, Compression, Step, packet_size
from tests.conformance.fakes import FailsOver, Keeps, Said, dying_after, saying, showing, wrong_digests

STALL_SECONDS = 2.0


def violation_of(factory: Factory, schedule: Directed = closed_between_checkpoints, stall_seconds: float = STALL_SECONDS) -> Violation:
    """Run a schedule on a subject that is wrong, and return what was found."""
    with pytest.raises(Violation) as caught:
        run_directed(factory, schedule, Options(), stall_seconds)
    return caught.value


def test_a_subject_without_fault_passes() -> None:
    """Given the built-in receiver (the control of all tests here), when a schedule runs on it, then nothing is found."""
    run = run_directed(BuiltIn, closed_between_checkpoints, Options(), STALL_SECONDS)
    assert run.reached.checkpoints == 1
    assert run.reached.micro_steps == run.acceptor.accepted


@pytest.mark.parametrize(
    ("step", "schedule"),
    [
        (Step.ZERO_PAGE, closed_between_checkpoints),
        (Step.READ_PAGE, closed_between_checkpoints),
        (Step.MIRROR, closed_between_checkpoints),
        (Step.FLUSH_PAGE, closed_between_checkpoints),
        (Step.MAIN_ZERO_PAGE, main_channel_pages),
        (Step.MAIN_READ_PAGE, main_channel_pages),
        (Step.MAIN_MIRROR, main_channel_pages),
    ],
)
def test_a_digest_of_something_else_is_refused(step: Step, schedule: Directed) -> None:
    """Given a subject that reports another content after a step, when it takes that step, then the step is refused."""
    assert violation_of(wrong_digests(step), schedule).rule == step


def _releases_early(event: Said) -> list[Said]:
    return [Said(Step.RELEASE, MAIN_CHANNEL), event] if event.step is Step.PARK else [event]


def _prepares_more(event: Said) -> list[Said]:
    return [replace(event, zero_pages=(*event.zero_pages, 9)) if event.step is Step.PREPARE else event]


def _reads_another_page(event: Said) -> list[Said]:
    return [replace(event, pages=(9,)) if event.step is Step.READ_PAGE else event]


def _reports_no_digests(event: Said) -> list[Said]:
    return [replace(event, digests=()) if event.step is Step.MIRROR else event]


def _commits_twice(event: Said) -> list[Said]:
    return [event] * 2 if event.step is Step.COMMIT else [event]


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (_releases_early, Step.RELEASE),
        (_prepares_more, Step.PREPARE),
        (_reads_another_page, Step.READ_PAGE),
        (_reports_no_digests, Step.MIRROR),
        (_commits_twice, Step.COMMIT),
    ],
)
def test_a_step_that_is_not_allowed_is_refused(change: Callable[[Said], list[Said]], rule: Step) -> None:
    """Given a subject that takes a step where the spec allows none, or with other pages than were sent, then the step is refused."""
    found = violation_of(saying(change))
    assert found.rule == rule
    assert str(found).startswith(f"{rule}: event ")


def _flipped(image: bytes) -> bytes:
    return bytes([image[0] ^ 1]) + image[1:]


CHANGES: dict[str, tuple[Callable[[Observed], Observed], str]] = {
    "guest": (lambda seen: replace(seen, guest=_flipped(seen.guest)), "isolation.guest"),
    "cache": (lambda seen: replace(seen, cache=seen.cache and _flipped(seen.cache)), "receive.clean-page-arrived"),
    "received": (lambda seen: replace(seen, received=np.logical_not(seen.received)), "receive.untouched-buffer-zero"),
    "dirty": (lambda seen: replace(seen, peer_dirty=np.logical_not(seen.peer_dirty)), "mirror.dirty-covers"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_memory_that_changes_between_events_is_noticed(what: str) -> None:
    """Given a subject whose memory is not what its events say, when any step was taken, then the clause about it is violated."""
    change, rule = CHANGES[what]
    assert violation_of(showing(change)).rule == rule


def test_a_subject_that_does_nothing_is_stalled() -> None:
    """Given a subject that takes no channel, when a schedule begins, then it is stalled, and the schedule has an end."""

    class Deaf(BuiltIn):
        def attach(self, channel: socket.socket) -> None:
            channel.close()

    found = violation_of(Deaf, stall_seconds=0.1)
    assert (found.rule, found.why) == ("progress", "main came to no micro-step within 0.1 s")


def test_a_thread_that_has_ended_is_not_waited_for() -> None:
    """Given a subject whose threads end in the middle of a round, when they owe more, then that is said at once."""
    found = violation_of(dying_after(Step.PACKET_DONE))
    assert found.rule == "progress"
    assert found.why.endswith("has ended, and its work is not done")


def test_a_failover_that_fails_is_a_violation() -> None:
    """Given a subject whose failover raises, when the secondary is to take over, then that is the violation."""
    found = violation_of(FailsOver, failover_when_received)
    assert (found.rule, found.why) == ("failover", "the call failed: RuntimeError('no failover today')")


def test_memory_that_is_not_freed_is_noticed() -> None:
    """Given a subject that is closed and frees nothing, then the release is what it owes."""
    assert violation_of(Keeps).rule == Step.RELEASE_CACHE


def test_a_violation_says_how_to_get_there() -> None:
    """Given a violation, then it names the set-up and every move up to it."""
    moves = violation_of(wrong_digests(Step.FLUSH_PAGE)).moves
    assert moves[0] == f"options {Options()}"
    assert "primary writes page 0: content 1" in moves
    assert moves[-1] == f"main goes on until {Step.COMMIT}"


@pytest.mark.parametrize("reply", [ColoMessage.VMSTATE_LOADED.to_bytes(4), b"\0\0", b""])
def test_another_reply_than_wanted_is_noticed(reply: bytes) -> None:
    """Given a secondary that answers something else, half of it, or nothing, when a reply is due, then it is unexpected."""
    peer = Peer(Options())
    ends = peer.connect()
    ends[-1].sendall(reply)
    for end in ends:
        end.close()
    with pytest.raises(UnexpectedReply, match="expected VMSTATE_RECEIVED"):
        peer.expect(ColoMessage.VMSTATE_RECEIVED)
    peer.close()


def test_nothing_is_left_running() -> None:
    """Given a violation in the middle of a checkpoint, when the receiver was given up, then all its threads have ended."""
    violation_of(wrong_digests(Step.FLUSH_PAGE))
    left = [thread for thread in threading.enumerate() if thread.name.startswith("colofd")]
    for thread in left:
        thread.join(STALL_SECONDS)
    assert not [thread for thread in left if thread.is_alive()]


@pytest.mark.parametrize("compression", [Compression.ZLIB, Compression.ZSTD])
def test_a_payload_that_does_not_inflate_has_not_arrived(compression: Compression) -> None:
    """Given a compressed packet with a damaged payload, when it is read, then no page of it counts as received, for receiver and model."""
    run = Lockstep(BuiltIn, Options(compression=compression))
    run.primary_writes(5, 1)
    sent = run.peer.take([5])
    run.acceptor.sent["mfd0"].append(sent)
    packet = run.peer.packet("mfd0", sent)
    header = packet_size(run.options.page_size)
    run.peer.put("mfd0", packet[:header] + b"\xff" * 16 + packet[header + 16 :])
    run._run_freely(lambda: len(run.exited) == len(run.owed), None)
    assert not run.machine.cells["received"][5]
    run.close()
