"""Drawn schedules: any order of moves that the peer's obligations allow, chosen by Hypothesis."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import hypothesis
from hypothesis import HealthCheck, settings
from hypothesis import seed as hypothesis_seed
from hypothesis import strategies as st
from hypothesis.errors import HypothesisException
from hypothesis.reporting import with_reporter
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from colofd.conformance.gates import STALL_SECONDS
from colofd.conformance.lockstep import Lockstep
from colofd.conformance.recording import recording
from colofd.conformance.saved_schedule import Seen
from colofd.conformance.schedules import CONTENTS, VARIANTS, Tally
from colofd.conformance.subjects import Factory, Options
from colofd.conformance.violation import Violation
from colofd.spec.constants import MAIN_CHANNEL
from colofd.spec.language import Spec
from colofd.spec.protocol import BOTH_SIDES
from colofd.spec.state import Phase

STEPS_A_SCHEDULE: Final = 30
HANGS: Final = 3
"""Of schedules in which a receiver hangs no more are tried: each takes as long as it may take at most."""

_PAGES: Final = st.integers(0, Options().pages - 1)
_CONTENTS: Final = st.integers(0, CONTENTS - 1)
_CHANNELS: Final = st.sampled_from(["mfd0", "mfd1"])


@dataclass
class Search:
    """The violation with the shortest schedule so far, and how many more schedules may be tried to find a shorter one.

    Attributes:
        hang_seconds: a try that takes as long has hung.
    """

    hang_seconds: float
    shortest: Violation | None = None
    tries_left: int = 100
    hangs_left: int = HANGS
    _begun: float = 0.0

    def begin_try(self) -> None:
        """Count a schedule; one too many is not run."""
        self.tries_left -= self.shortest is not None
        if self.tries_left < 0 or not self.hangs_left:
            hypothesis.reject()
        self._begun = time.monotonic()

    def has_hung(self) -> bool:
        """Whether this try has taken so long that it has hung."""
        return time.monotonic() - self._begun >= self.hang_seconds

    def note(self, violation: Violation) -> None:
        """Keep a violation if it is the shortest."""
        self.hangs_left -= self.has_hung()
        if self.shortest is None or len(violation.moves) < len(self.shortest.moves):
            self.shortest = violation


@dataclass(frozen=True)
class Setup:
    """What is driven, and where it is counted."""

    factory: Factory
    tally: Tally
    fired: dict[str, int]
    spec: Spec
    search: Search


class Schedule(RuleBasedStateMachine):
    """One receiver and one model; every schedule ends with a commit or a failover."""

    setup: ClassVar[Setup]

    lockstep: Lockstep
    is_over = False

    def phase_is(self, *phases: Phase) -> bool:
        """Whether the destination is in one of these phases, and nothing is broken."""
        return not self.is_over and not self.lockstep.is_faulty and self.lockstep.machine.phase in phases

    @initialize(options=st.sampled_from(VARIANTS))
    def connect(self, options: Options) -> None:
        """Begin: a receiver in one of the set-ups."""
        self.setup.search.begin_try()
        stall_seconds = self.setup.search.hang_seconds
        self.lockstep = recording(Lockstep(self.setup.factory, options, stall_seconds, spec=self.setup.spec), Seen.WITHIN)

    @precondition(lambda self: not self.is_over and self.lockstep.can_primary_write())
    @rule(page=_PAGES, content=_CONTENTS)
    def primary_writes(self, page: int, content: int) -> None:
        """The primary's guest writes a page that is not on its way."""
        if not self.lockstep.is_waiting(page):
            self.lockstep.primary_writes(page, content)

    @precondition(lambda self: self.lockstep.can_guest_write())
    @rule(page=_PAGES, content=_CONTENTS, at_once=st.booleans())
    def guest_writes(self, page: int, content: int, at_once: bool) -> None:
        """The secondary's guest writes a page; the receiver learns of it now, or when it stops the guest."""
        self.lockstep.guest_writes(page, content, is_reported_at_once=at_once and not self.is_over)

    @precondition(lambda self: not self.is_over and self.lockstep.can_send())
    @rule(channel=_CHANNELS, draw=st.data(), is_main=st.integers(0, 4))
    def send(self, channel: str, draw: st.DataObject, is_main: int) -> None:
        """Some pages leave, on a multifd channel or on the main one."""
        sendable = self.lockstep.peer.sendable()
        chosen = draw.draw(st.lists(st.sampled_from(sendable), min_size=1, max_size=4, unique=True))
        target = MAIN_CHANNEL if is_main == 0 else channel
        if self.lockstep.owed[target] <= 6:
            self.lockstep.send(target, chosen)

    @precondition(lambda self: not self.is_over and any(self.lockstep.owed.values()))
    @rule(choice=st.integers(0, 2), count=st.integers(1, 5))
    def step(self, choice: int, count: int) -> None:
        """One thread takes some micro-steps."""
        owing = [name for name, owed in self.lockstep.owed.items() if owed]
        channel = owing[choice % len(owing)]
        for _ in range(min(count, self.lockstep.owed[channel])):
            self.lockstep.step(channel)

    @precondition(lambda self: self.phase_is(Phase.PRECOPY, Phase.RECEIVING))
    @rule()
    def end_round(self) -> None:
        """SYNC, MULTIFD_FLUSH, and the barrier."""
        self.lockstep.end_round()

    @precondition(lambda self: self.phase_is(Phase.PRECOPY))
    @rule()
    def end_precopy(self) -> None:
        """The rest is sent, and COLO begins."""
        self.lockstep.drain()
        self.lockstep.end_precopy()

    @precondition(lambda self: self.phase_is(Phase.IDLE))
    @rule()
    def begin_checkpoint(self) -> None:
        """The primary asks for a checkpoint."""
        self.lockstep.begin_checkpoint()

    @precondition(lambda self: self.phase_is(Phase.RECEIVING))
    @rule()
    def receive_checkpoint(self) -> None:
        """The rest of the checkpoint is sent."""
        self.lockstep.drain()
        self.lockstep.receive_checkpoint()

    @precondition(lambda self: self.phase_is(Phase.RECEIVED) and not self.lockstep.is_answered())
    @rule()
    def answer(self) -> None:
        """The checkpoint is answered."""
        self.lockstep.answer()

    @precondition(lambda self: self.phase_is(Phase.RECEIVED))
    @rule()
    def commit(self) -> None:
        """The checkpoint is flushed."""
        self.lockstep.commit()

    @precondition(lambda self: self.phase_is(Phase.RECEIVING) and self.lockstep.can_send())
    @rule(channel=_CHANNELS, keep=st.floats(0, 1), draw=st.data())
    def cut(self, channel: str, keep: float, draw: st.DataObject) -> None:
        """A channel dies in the middle of a packet, and the secondary takes over."""
        chosen = draw.draw(st.lists(st.sampled_from(self.lockstep.peer.sendable()), min_size=1, max_size=4, unique=True))
        self.lockstep.drain()
        self.lockstep.cut(channel, chosen, keep)
        self.fail_over()

    @precondition(lambda self: not self.is_over and self.lockstep.can_fail_over())
    @rule(order=st.permutations(["mfd0", "mfd1", MAIN_CHANNEL]), chance=st.integers(0, 2))
    def failover(self, order: list[str], chance: int) -> None:
        """Now and then the secondary takes over, its threads ending in any order."""
        if chance == 0:
            self.fail_over(order)

    def fail_over(self, order: Sequence[str] = ()) -> None:
        """Take over, and end the schedule."""
        self.lockstep.failover(order)
        self.is_over = True

    def finish(self) -> None:
        """Go on to the next commit, from wherever the schedule has stopped."""
        run = self.lockstep
        if run.machine.phase is Phase.PRECOPY:
            run.drain()
            run.end_precopy()
        if run.machine.phase is Phase.IDLE:
            run.begin_checkpoint()
        if run.machine.phase is Phase.RECEIVING:
            run.drain()
            run.receive_checkpoint()
        run.commit()

    def teardown(self) -> None:
        """Go on to a commit if nothing was concluded yet, and close."""
        if not hasattr(self, "lockstep"):
            return
        if self.lockstep.violation is not None:
            self.give_up()
            return
        try:
            if not self.lockstep.reached.is_conclusive:
                self.finish()
            self.lockstep.close()
        except BaseException:
            self.give_up()
            raise
        self.setup.tally.add(self.lockstep, self.setup.fired)

    def give_up(self) -> None:
        """End the receiver, which is wrong, and keep what was found."""
        self.lockstep.abandon()
        if self.lockstep.violation is not None:
            self.setup.search.note(self.lockstep.violation)


def _say_nothing(_text: object) -> None:
    """Take what Hypothesis wants to print."""


def run_drawn(
    factory: Factory,
    count: int,
    seed: int,
    tally: Tally,
    fired: dict[str, int],
    stall_seconds: float = STALL_SECONDS,
    *,
    spec: Spec = BOTH_SIDES,
) -> None:
    """Run `count` schedules; Violation, with the shortest schedule found, if the receiver is wrong by `spec`.

    If it stalls (`stall_seconds`) in a few of them, it is left at that.
    """
    setup = Setup(factory, tally, fired, spec, Search(stall_seconds))
    machine = type("Schedule", (Schedule,), {"setup": setup})
    configured = settings(
        max_examples=count,
        stateful_step_count=STEPS_A_SCHEDULE,
        deadline=None,
        database=None,
        print_blob=False,
        report_multiple_bugs=False,
        phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    # The violation says what is to be said; standard output belongs to the report.
    try:
        with with_reporter(_say_nothing):
            run_state_machine_as_test(hypothesis_seed(seed)(machine), settings=configured)
    except (Violation, HypothesisException):
        # Threads may take another way when a schedule is tried again; what was found was found.
        if setup.search.shortest is not None:
            raise setup.search.shortest from None
        raise
