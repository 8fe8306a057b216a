"""Schedules for a receiver that is seen from outside only: the directed ones, drawn ones, and a race that is run many times."""

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import hypothesis
from hypothesis import HealthCheck, given, settings
from hypothesis import seed as hypothesis_seed
from hypothesis import strategies as st

from colofd.conformance.black_box import BlackBox, BlackBoxRun, NotObservable, Version
from colofd.conformance.schedules import CONTENTS, DIRECTED, SHAPES, VARIANTS, Directed, plain
from colofd.conformance.subjects import Options
from colofd.conformance.violation import Violation
from colofd.spec.constants import MAIN_CHANNEL, TARGET_PAGE_SIZE, pages_per_packet

Make = Callable[[Options], BlackBox]
"""Starts a receiver that waits for a migration."""

Move = tuple[str, int, int]
"""What to do, and two numbers that choose how."""

FULL_FLOW: Final = Options(pages=4 * pages_per_packet(TARGET_PAGE_SIZE))
"""Enough pages that copying a packet of them takes a while."""

MOVES: Final = ("write", "write", "write", "send", "send", "round", "checkpoint")
ENDS: Final = ("close", "failover_between_checkpoints", "failover_after_pages", "failover_before_device_state", "cut_and_failover")
_RACY_ENDS: Final = ("failover_after_pages", "failover_before_device_state", "cut_and_failover")
"""Pages may still be on their way: the same schedule may go well the next time, and there is nothing to shrink."""
_LONGEST: Final = 24
_PACKETS_AT_ONCE: Final = 8


@dataclass
class Findings:
    """What was seen of a receiver, by the ids of rules and clauses: how often each held, how each was broken, and what cannot be seen."""

    held: dict[str, int] = field(default_factory=dict)
    violations: dict[str, list[tuple[str, Violation]]] = field(default_factory=dict)
    """By the id of what was broken: the schedules that broke it, by their names."""
    not_observable: dict[str, str] = field(default_factory=dict)
    """By the name of the schedule."""
    errors: list[str] = field(default_factory=list)
    schedules: int = 0

    def note(self, name: str, action: Callable[[], Mapping[str, int]], set_up: str = "") -> None:
        """Run the schedule of this name, in this set-up, and note what comes of it."""
        self.schedules += 1
        try:
            for rule, count in action().items():
                self.held[rule] = self.held.get(rule, 0) + count
        except NotObservable as reason:
            self.not_observable[name] = str(reason)
        except Violation as violation:
            self.violations.setdefault(violation.rule, []).append((name, violation))
        except Exception as error:  # noqa: BLE001  # a subject may fail in any way; the rest is still checked
            self.errors.append(f"{name} {set_up}: {type(error).__name__}: {error}")


def run_schedule(
    make: Make, options: Options, schedule: Callable[[BlackBoxRun], None], seconds: float, version: Version | None = None
) -> Mapping[str, int]:
    """Run one schedule to its end, as far as the version can do it; return what was checked, how often."""
    options = version.adapted(options) if version else options
    receiver = make(options)
    try:
        run = BlackBoxRun(receiver, options, seconds, version)
        try:
            schedule(run)
            run.check_end()
        finally:
            run.peer.close()
    finally:
        receiver.close()
    return run.checked


def run_all_directed(
    make: Make, findings: Findings, seconds: float, progress: Callable[[str], None], version: Version | None = None
) -> None:
    """Run the directed schedules in each set-up, and the plain one in each shape."""
    cases: list[tuple[Options, Directed]] = [(options, schedule) for options in VARIANTS for schedule in DIRECTED]
    cases += [(options, plain) for options in SHAPES]
    for options, schedule in cases:
        set_up = f"{options.channels} channels, {options.compression}"
        progress(f"{schedule.__name__}, {set_up}")
        # The moves that a black box has are those of the lockstep; it refuses the others itself.
        run: Any = schedule
        if not options.is_mirror_deferred:
            findings.note(schedule.__name__, lambda: run_schedule(make, options, run, seconds, version), set_up)  # noqa: B023  # called at once


def failover_in_full_flow(run: BlackBoxRun) -> None:
    """The latch, as a race: pages of a checkpoint arrive without end, and the secondary takes over in the middle of them."""
    run.primary_writes_all(1)
    run.end_precopy()
    run.begin_checkpoint()
    run.primary_writes_all(2)
    room = pages_per_packet(run.options.page_size)
    shares = {name: range(number * room, (number + 1) * room) for number, name in enumerate(run.peer.channels)}
    stop = threading.Event()
    flows = [threading.Thread(target=_flow, args=(run, name, list(pages), stop)) for name, pages in shares.items()]
    for flow in flows:
        flow.start()
    try:
        run.failover()
    finally:
        stop.set()
        for flow in flows:
            flow.join()


def _flow(run: BlackBoxRun, channel: str, pages: Sequence[int], stop: threading.Event) -> None:
    # Made once: a channel that runs dry has no packet to hold.
    packets = run.peer.packet(channel, run.peer.take(pages)) * _PACKETS_AT_ONCE
    with contextlib.suppress(OSError):
        while not stop.is_set():
            run.peer.ends[channel].sendall(packets)


def run_race(make: Make, findings: Findings, count: int, seconds: float, version: Version | None = None) -> None:
    """Run the race `count` times, or once if it cannot be run."""
    name = failover_in_full_flow.__name__
    for _ in range(count):
        findings.note(name, lambda: run_schedule(make, FULL_FLOW, failover_in_full_flow, seconds, version))
        if name in findings.not_observable:
            return


def run_all_drawn(make: Make, findings: Findings, count: int, seed: int, seconds: float, version: Version | None = None) -> None:
    """Run `count` drawn schedules; if one is broken, Hypothesis looks for a shorter one."""
    moves = st.lists(st.tuples(st.sampled_from(MOVES), st.integers(0, 99), st.integers(0, 99)), max_size=_LONGEST)
    set_ups = st.sampled_from([each for each in (*VARIANTS, *SHAPES) if each.colo and not each.is_mirror_deferred and each.blocks == 1])

    @hypothesis_seed(seed)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        print_blob=False,
        report_multiple_bugs=False,
        phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(set_ups, moves, moves, st.sampled_from(ENDS))
    def drawn(options: Options, precopy: Sequence[Move], checkpoints: Sequence[Move], end: str) -> None:
        findings.schedules += 1
        try:
            found = run_schedule(make, options, lambda run: play_moves(run, precopy, checkpoints, end), seconds, version)
        except Violation as violation:
            if end not in _RACY_ENDS:
                raise
            findings.violations.setdefault(violation.rule, []).append((end, violation))
            return
        for rule, times in found.items():
            findings.held[rule] = findings.held.get(rule, 0) + times

    def action() -> Mapping[str, int]:
        drawn()
        return {}

    findings.note("drawn", action)


def play_moves(run: BlackBoxRun, precopy: Sequence[Move], checkpoints: Sequence[Move], end: str) -> None:
    """Make moves of `MOVES` before COLO, and then in COLO; end with one of the ends."""
    for what, first, second in precopy:
        _move(run, what if what != "checkpoint" else "round", first, second, is_sending=True)
    run.end_precopy()
    if not run.options.colo:
        return
    for what, first, second in checkpoints:
        if what == "checkpoint":
            run.begin_checkpoint()
            _send_some(run, first, second)
            run.receive_checkpoint()
            run.commit()
        else:
            _move(run, what, first, second, is_sending=False)
    _end(run, end)


def _move(run: BlackBoxRun, what: str, first: int, second: int, *, is_sending: bool) -> None:
    if what == "write":
        run.primary_writes(first % run.options.pages, second % CONTENTS)
    elif is_sending and what == "send":
        _send_some(run, first, second)
    elif is_sending and what == "round":
        run.end_round()


def _send_some(run: BlackBoxRun, first: int, second: int) -> None:
    channels = [*run.peer.channels, MAIN_CHANNEL]
    if pages := run.peer.sendable()[: second % run.options.pages + 1]:
        run.send(channels[first % len(channels)], pages)


def _end(run: BlackBoxRun, end: str) -> None:
    if end == "close":
        return
    if end != "failover_between_checkpoints":
        run.primary_writes(0, 3)
        run.primary_writes(1, 0)
        run.begin_checkpoint()
        if end == "cut_and_failover":
            run.cut((run.peer.channels or [MAIN_CHANNEL])[0], [0], 0.7)
        elif end == "failover_after_pages":
            _send_some(run, 0, 5)
        else:
            run.receive_checkpoint()
    run.failover()
