"""The latch on a real secondary: it takes over while a packet of a checkpoint is between its payload and the copying of its pages."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from colofd.conformance.black_box import PROGRESS, BlackBoxRun
from colofd.conformance.black_box_cases import FULL_FLOW, failover_in_full_flow
from colofd.conformance.qemu.hold import Hold, HoldUnavailable
from colofd.conformance.qemu.provision import Qemu
from colofd.conformance.qemu.subject import PATIENCE, QemuReceiver
from colofd.conformance.subjects import Options
from colofd.conformance.violation import Violation
from colofd.spec.constants import Compression, pages_per_packet

RECEIVE_THREAD: Final = "mig/dst/recv_0"
"""What QEMU calls the thread of the first multifd channel."""

_HELD_SECONDS: Final = 0.3
"""How long it is looked whether guest RAM changes while the thread is held."""
_SETTLE_SECONDS: Final = 2.0
_POLL_SECONDS: Final = 0.02


@dataclass(frozen=True)
class Try:
    """One failover: guest RAM should be the last commit's, before and after."""

    before: int
    """Pages that had changed before the thread was let go; without a held thread always 0."""
    after: int
    """Pages that had changed at the end."""
    is_answered: bool
    """Whether x-colo-lost-heartbeat was answered."""


def held(qemu: Qemu, compression: Compression = Compression.NONE, *, yanks: bool) -> Try:
    """Hold a receive thread at the last byte of a packet, take over, and let it go. HoldUnavailable if it cannot be held here."""
    options = replace(FULL_FLOW, compression=compression)
    receiver = QemuReceiver(qemu, options, yanks=yanks)
    try:
        run = _in_a_checkpoint(receiver, options)
        try:
            thread = receiver.thread(RECEIVE_THREAD)
            if thread is None:
                raise HoldUnavailable(f"this QEMU has no thread of the name {RECEIVE_THREAD}")
            pages = range(pages_per_packet(options.page_size))
            packet = run.peer.packet("mfd0", run.peer.take(pages))
            with Hold(thread, len(packet)) as hold:
                run.peer.put("mfd0", packet)
                hold.wait()
                is_answered = _takes_over(receiver)
                time.sleep(_HELD_SECONDS)
                before = len(run.differing_pages())
                hold.release()
            _wait_until(lambda: receiver.thread(RECEIVE_THREAD) is None)
            return Try(before, len(run.differing_pages()), is_answered)
        finally:
            run.peer.close()
    finally:
        receiver.close()


def race(qemu: Qemu, compression: Compression = Compression.NONE, *, yanks: bool) -> Try:
    """Take over while pages of a checkpoint arrive without end; nobody is held."""
    options = replace(FULL_FLOW, compression=compression)
    receiver = QemuReceiver(qemu, options, yanks=yanks)
    try:
        run = BlackBoxRun(receiver, options, PATIENCE)
        try:
            is_answered = True
            try:
                failover_in_full_flow(run)
            except Violation as violation:
                is_answered = violation.rule != PROGRESS
            _wait_until(lambda: receiver.thread(RECEIVE_THREAD) is None)
            return Try(0, len(run.differing_pages()), is_answered)
        finally:
            run.peer.close()
    finally:
        receiver.close()


def _in_a_checkpoint(receiver: QemuReceiver, options: Options) -> BlackBoxRun:
    run = BlackBoxRun(receiver, options, PATIENCE)
    run.primary_writes_all(1)
    run.end_precopy()
    run.begin_checkpoint()
    run.primary_writes_all(2)
    return run


def _takes_over(receiver: QemuReceiver) -> bool:
    try:
        receiver.failover()
    except TimeoutError:
        return False
    return True


def _wait_until(holds: Callable[[], bool]) -> None:
    """Wait until something holds, or for some seconds in vain: then it is as it is."""
    end = time.monotonic() + _SETTLE_SECONDS
    while not holds() and time.monotonic() < end:
        time.sleep(_POLL_SECONDS)


def summary(tries: Sequence[Try]) -> dict[str, int | list[int]]:
    """Return how many failovers changed guest RAM, of how many, and the numbers of changed pages: the least, the median, the most."""
    changed = sorted(each.after for each in tries if each.after)
    return {
        "failovers": len(tries),
        "changed": len(changed),
        "changed_before_release": sum(each.before > 0 for each in tries),
        "unanswered": sum(not each.is_answered for each in tries),
        "pages": [changed[0], changed[len(changed) // 2], changed[-1]] if changed else [],
    }
