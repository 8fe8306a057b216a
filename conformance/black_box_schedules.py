"""Runs schedules on a receiver that is seen from outside only: the directed ones, drawn ones, and races that are run many times."""

import contextlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import hypothesis
from hypothesis import HealthCheck, given, settings
from hypothesis import seed as hypothesis_seed
from hypothesis import strategies as st
from hypothesis.errors import HypothesisException

from colofd.conformance.black_box import BlackBox, BlackBoxRun, NotObservable, Version
from colofd.conformance.black_box_cases import Case, directed_cases, race_cases
from colofd.conformance.black_box_clues import end_clue
from colofd.conformance.diagnostic import Diagnostic
from colofd.conformance.drawn import HANGS, Search
from colofd.conformance.recording import recording
from colofd.conformance.saved_schedule import Seen
from colofd.conformance.schedules import CONTENTS, SHAPES, VARIANTS
from colofd.conformance.subjects import Options
from colofd.conformance.violation import Violation
from colofd.spec.constants import MAIN_CHANNEL

Make = Callable[[Options], BlackBox]
"""Starts a receiver that waits for a migration."""

Move = tuple[str, int, int]
"""What to do, and two numbers that choose how."""

MOVES: Final = ("write", "write", "write", "own write", "send", "send", "round", "checkpoint", "checkpoint")
ENDS: Final = ("close", "failover_between_checkpoints", "failover_after_pages", "failover_before_device_state", "cut_and_failover")
_RACY_ENDS: Final = ("failover_after_pages", "failover_before_device_state", "cut_and_failover")
"""Pages may still be on their way: the same schedule may go well the next time, and there is nothing to shrink."""
_LONGEST: Final = 24


DRAWN: Final = "drawn"
"""The name of the drawn schedules, of which the first violation ends the drawing."""


class Interrupted(Exception):  # noqa: N818  # says what happened
    """The subject broke down in the middle of a schedule."""


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
    hung: Counter[str] = field(default_factory=Counter)
    """By the end of drawn schedules: in how many it has hung."""
    not_run: Counter[str] = field(default_factory=Counter)
    """By the end of drawn schedules: how many were left out, as it has hung in others."""

    def leaves_out(self, end: str) -> bool:
        """Return whether a drawn schedule with this end is not to be run, and count it then."""
        is_left_out = self.hung[end] >= HANGS
        self.not_run[end] += is_left_out
        return is_left_out

    def add(self, other: "Findings") -> None:
        """Add what was seen elsewhere."""
        for rule, count in other.held.items():
            self.held[rule] = self.held.get(rule, 0) + count
        for rule, its in other.violations.items():
            self.violations.setdefault(rule, []).extend(its)
        self.not_observable |= other.not_observable
        self.errors += other.errors
        self.schedules += other.schedules
        self.hung += other.hung
        self.not_run += other.not_run

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
    make: Make,
    options: Options,
    schedule: Callable[[BlackBoxRun], None],
    seconds: float,
    version: Version | None = None,
    *,
    is_main_last: bool = False,
) -> Mapping[str, int]:
    """Run one schedule to its end, as far as the version can do it; return what was checked, how often."""
    options = version.adapted(options) if version else options
    receiver = make(options)
    try:
        run = recording(
            BlackBoxRun(receiver, options, seconds, version, is_main_last=is_main_last), Seen.OUTSIDE, is_main_last=is_main_last
        )
        try:
            schedule(run)
            run.check_end()
        except Diagnostic as trouble:
            raise Interrupted(f"{trouble}; after the move {run.moves[-1]!r}{end_clue(run.moves[-1])}") from trouble
        finally:
            run.peer.close()
    finally:
        receiver.close()
    return run.checked


def run_case(make: Make, case: Case, seconds: float, version: Version | None = None) -> Mapping[str, int]:
    """Run one case; see `run_schedule`."""
    return run_schedule(make, case.options, case.moves, seconds, version, is_main_last=case.is_main_last)


def run_all_directed(
    make: Make, findings: Findings, seconds: float, progress: Callable[[str], None], version: Version | None = None
) -> None:
    """Run the directed schedules in each set-up, and the plain one in each shape."""
    for case in directed_cases():
        progress(f"{case.name}, {case.set_up}")
        findings.note(case.name, partial(run_case, make, case, seconds, version), case.set_up)


def run_race(make: Make, findings: Findings, count: int, seconds: float, version: Version | None = None) -> None:
    """Run the races, that in full flow `count` times; once what cannot be run."""
    for case in race_cases(count):
        if case.name not in findings.not_observable:
            findings.note(case.name, partial(run_case, make, case, seconds, version))


def run_all_drawn(make: Make, findings: Findings, count: int, seed: int, seconds: float, version: Version | None = None) -> None:
    """Run `count` drawn schedules; if one is broken, Hypothesis looks for a shorter one, unless the receiver hangs in them."""
    moves = st.lists(st.tuples(st.sampled_from(MOVES), st.integers(0, 99), st.integers(0, 99)), max_size=_LONGEST)
    set_ups = st.sampled_from([each for each in (*VARIANTS, *SHAPES) if each.colo and not each.is_mirror_deferred])
    unseen: set[Options] = set()
    search = Search(seconds)

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
        if options in unseen or findings.leaves_out(end):
            return
        search.begin_try()
        findings.schedules += 1
        try:
            found = run_schedule(make, options, lambda run: play_moves(run, precopy, checkpoints, end), seconds, version)
        except NotObservable:
            unseen.add(options)
            return
        except Violation as violation:
            if end not in _RACY_ENDS:
                search.note(violation)
                raise
            findings.violations.setdefault(violation.rule, []).append((end, violation))
            findings.hung[end] += search.has_hung()
            return
        for rule, times in found.items():
            findings.held[rule] = findings.held.get(rule, 0) + times

    def action() -> Mapping[str, int]:
        try:
            drawn()
        except (Violation, HypothesisException):
            # What comes and goes is a violation all the same.
            if search.shortest is not None:
                raise search.shortest from None
            raise
        return {}

    findings.note(DRAWN, action)


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
    if what == "own write" and not is_sending:
        # Who cannot make its guest write is tried without.
        with contextlib.suppress(NotObservable):
            run.guest_writes(first % run.options.pages, second % CONTENTS, is_reported_at_once=True)
    elif what == "write":
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
