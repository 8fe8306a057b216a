"""Schedules: a few that go straight to where receivers have been wrong, and any number that Hypothesis draws."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from hypothesis import HealthCheck, settings
from hypothesis import seed as hypothesis_seed
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from colofd.conformance.lockstep import Lockstep, Violation
from colofd.conformance.subjects import Factory, Options
from colofd.spec.constants import MAIN_CHANNEL, Compression, Step
from colofd.spec.state import Phase

CONTENTS: Final = 4
"""Different page contents of a schedule: 0 is zeros."""

STEPS_A_SCHEDULE: Final = 30


@dataclass
class Tally:
    """What a campaign has done."""

    schedules: int = 0
    conclusive: int = 0
    checkpoints: int = 0
    failovers: int = 0
    micro_steps: int = 0

    def add(self, run: Lockstep, fired: dict[str, int]) -> None:
        """Count one schedule that went through."""
        self.schedules += 1
        self.conclusive += run.reached.is_conclusive
        self.checkpoints += run.reached.checkpoints
        self.failovers += run.reached.is_taken_over
        self.micro_steps += run.reached.micro_steps
        for step, count in run.acceptor.fired.items():
            fired[step] = fired.get(step, 0) + count


def _enter_colo(run: Lockstep, pages: Sequence[int] = (0, 1, 2)) -> None:
    """Precopy with some pages that are not zero, then COLO."""
    for page in pages:
        run.primary_writes(page, page % (CONTENTS - 1) + 1)
    run.end_precopy()


def _checkpoint(run: Lockstep) -> None:
    run.begin_checkpoint()
    run.receive_checkpoint()
    run.commit()


def _step_to(run: Lockstep, channel: str, step: Step) -> None:
    """Let the thread go on until it waits at `step`."""
    while run.gates.wait_for(channel) != step:
        run.step(channel)


def zero_after_normal_in_precopy(run: Lockstep) -> None:
    """A page arrives with content, then as zero, before COLO: guest and cache must both be cleared."""
    run.primary_writes(3, 1)
    run.send("mfd0", [3, 4])
    run.drain()
    run.end_round()
    run.primary_writes(3, 0)
    run.send("mfd1", [3])
    run.drain()
    run.end_precopy()
    _checkpoint(run)


def zero_after_normal_in_checkpoint(run: Lockstep) -> None:
    """A page of the last commit turns zero: it is dirty, cleared in the cache, and the flush clears it in the guest."""
    _enter_colo(run)
    run.primary_writes(1, 0)
    run.primary_writes(5, 2)
    _checkpoint(run)
    run.primary_writes(5, 0)
    _checkpoint(run)


def own_write_is_undone(run: Lockstep) -> None:
    """The secondary's guest writes a page that the primary never sends: the commit puts the primary's content back."""
    _enter_colo(run)
    run.guest_writes(2, 3, is_reported_at_once=False)
    run.guest_writes(7, 1, is_reported_at_once=True)
    run.primary_writes(4, 1)
    _checkpoint(run)


def failover_between_payload_and_mirror(run: Lockstep) -> None:
    """The latch: a packet of a checkpoint has landed in the cache, failover comes, and its pages must not reach the guest."""
    _enter_colo(run)
    run.primary_writes(0, 2)
    run.primary_writes(1, 0)
    run.begin_checkpoint()
    run.send("mfd0", [0, 1])
    _step_to(run, "mfd0", Step.MIRROR)
    run.failover()


def failover_before_prepare(run: Lockstep) -> None:
    """The header of a packet was read in a checkpoint and is prepared after failover: the packet is dropped."""
    _enter_colo(run)
    run.primary_writes(0, 2)
    run.begin_checkpoint()
    run.send("mfd1", [0])
    _step_to(run, "mfd1", Step.PREPARE)
    run.failover()


def failover_with_one_sync_missing(run: Lockstep) -> None:
    """One channel's SYNC never comes: failover completes all the same, and the cache outlives the thread that is held."""
    _enter_colo(run)
    run.primary_writes(0, 2)
    run.primary_writes(1, 3)
    run.begin_checkpoint()
    run.send("mfd0", [0])
    run.send("mfd1", [1])
    run.peer.put_sync("mfd0")
    run.owed["mfd0"] += 1
    run.peer.put_round_end()
    while run.owed["mfd0"]:
        run.step("mfd0")
    _step_to(run, "mfd1", Step.READ_PAGE)
    run.failover()


def round_is_not_overtaken(run: Lockstep) -> None:
    """A parked channel reads nothing of the next round, and the barrier waits for the last channel."""
    run.primary_writes(0, 1)
    run.primary_writes(1, 2)
    run.send("mfd0", [0])
    run.send("mfd1", [1])
    run.peer.put_sync("mfd0")
    run.owed["mfd0"] += 1
    run.peer.put_round_end()
    while run.owed["mfd0"]:
        run.step("mfd0")
    run.primary_writes(0, 3)
    run.send("mfd0", [0])
    run.owed["mfd0"] = 0
    while run.owed["mfd1"]:
        run.step("mfd1")
    run.peer.put_sync("mfd1")
    run.owed["mfd1"] += 1
    run.owed[MAIN_CHANNEL] += 1
    run.step("mfd1")
    run.owed["mfd0"] = 5
    run.step(MAIN_CHANNEL)
    run.drain()
    run.end_precopy()
    _checkpoint(run)


def main_channel_pages(run: Lockstep) -> None:
    """Pages and zero pages on the main channel, beside multifd, before COLO and in a checkpoint."""
    run.primary_writes(0, 1)
    run.send(MAIN_CHANNEL, [0, 1])
    run.send("mfd0", [2, 3])
    run.drain()
    run.end_precopy()
    run.primary_writes(0, 0)
    run.primary_writes(1, 3)
    run.begin_checkpoint()
    run.send(MAIN_CHANNEL, [0, 1])
    run.drain()
    run.receive_checkpoint()
    run.commit()


def cut_in_precopy(run: Lockstep) -> None:
    """A channel dies in the middle of a page, before COLO: the migration fails and everything is freed."""
    run.primary_writes(2, 1)
    run.cut("mfd0", [2, 3], 0.8)


def cut_in_checkpoint(run: Lockstep) -> None:
    """A channel dies in the middle of a page of a checkpoint: the secondary takes over from the last commit."""
    _enter_colo(run)
    run.primary_writes(2, 3)
    run.begin_checkpoint()
    run.cut("mfd1", [2], 0.6)
    run.failover()


def failover_when_received(run: Lockstep) -> None:
    """The whole checkpoint is in the cache, none of it in the guest: failover leaves the last commit and the guest's own writes."""
    _enter_colo(run)
    run.primary_writes(2, 3)
    run.guest_writes(6, 2, is_reported_at_once=True)
    run.begin_checkpoint()
    run.receive_checkpoint()
    run.failover()


def closed_between_checkpoints(run: Lockstep) -> None:
    """COLO is left without taking over."""
    _enter_colo(run)
    run.primary_writes(2, 3)
    _checkpoint(run)


Directed = Callable[[Lockstep], None]

DIRECTED: Final[tuple[Directed, ...]] = (
    closed_between_checkpoints,
    zero_after_normal_in_precopy,
    zero_after_normal_in_checkpoint,
    own_write_is_undone,
    failover_between_payload_and_mirror,
    failover_before_prepare,
    failover_with_one_sync_missing,
    round_is_not_overtaken,
    main_channel_pages,
    cut_in_precopy,
    cut_in_checkpoint,
    failover_when_received,
)
"""Shortest ways to where receivers were wrong; the first is the smoke case."""

VARIANTS: Final = (
    Options(),
    Options(is_mirror_deferred=True),
    Options(compression=Compression.ZLIB),
    Options(compression=Compression.ZSTD),
)


def run_directed(factory: Factory, schedule: Directed, options: Options) -> Lockstep:
    """Run one directed schedule to its end; Violation if the receiver is wrong."""
    run = Lockstep(factory, options)
    try:
        schedule(run)
        run.close()
    except BaseException:
        run.abandon()
        raise
    return run


def _plain_precopy(run: Lockstep) -> None:
    """Without COLO, or without multifd: rounds of pages, then the end."""
    for number, page in enumerate((0, 3, 5)):
        run.primary_writes(page, number + 1)
    run.end_round()
    run.primary_writes(0, 0)
    run.primary_writes(1, 2)
    run.end_precopy()
    if run.options.colo:
        run.primary_writes(3, 0)
        _checkpoint(run)


SHAPES: Final = (
    Options(colo=False),
    Options(colo=False, channels=0),
    Options(colo=False, channels=1, compression=Compression.ZLIB),
    Options(channels=0),
    Options(channels=0, is_mirror_deferred=True),
    Options(channels=4, compression=Compression.ZSTD),
)
"""Other set-ups, each of which runs one plain schedule."""


def run_shape(factory: Factory, options: Options) -> Lockstep:
    """Run the plain schedule on another set-up; Violation if the receiver is wrong."""
    return run_directed(factory, _plain_precopy, options)


def machine_for(factory: Factory, tally: Tally, fired: dict[str, int]) -> type[RuleBasedStateMachine]:
    """Return a Hypothesis state machine that drives the receivers of `factory`, and counts into `tally` and `fired`."""
    pages = st.integers(0, Options().pages - 1)
    contents = st.integers(0, CONTENTS - 1)
    channels = st.sampled_from(["mfd0", "mfd1"])

    class Schedule(RuleBasedStateMachine):
        """Moves in any order that the peer's obligations allow; every schedule ends with a commit or a failover."""

        run_: Lockstep
        is_over = False

        def phase_is(self, *phases: Phase) -> bool:
            """Whether the destination is in one of these phases, and nothing is broken."""
            return not self.is_over and not self.run_.is_faulty and self.run_.machine.phase in phases

        @initialize(options=st.sampled_from(VARIANTS))
        def connect(self, options: Options) -> None:
            self.run_ = Lockstep(factory, options)

        @precondition(lambda self: not self.is_over and self.run_.can_primary_write())
        @rule(page=pages, content=contents)
        def primary_writes(self, page: int, content: int) -> None:
            if not self.run_.is_waiting(page):
                self.run_.primary_writes(page, content)

        @precondition(lambda self: self.run_.can_guest_write())
        @rule(page=pages, content=contents, at_once=st.booleans())
        def guest_writes(self, page: int, content: int, at_once: bool) -> None:  # noqa: FBT001  # drawn by Hypothesis
            self.run_.guest_writes(page, content, is_reported_at_once=at_once and not self.is_over)

        @precondition(lambda self: not self.is_over and self.run_.can_send())
        @rule(channel=channels, draw=st.data(), is_main=st.integers(0, 4))
        def send(self, channel: str, draw: st.DataObject, is_main: int) -> None:
            sendable = self.run_.peer.sendable()
            chosen = draw.draw(st.lists(st.sampled_from(sendable), min_size=1, max_size=4, unique=True))
            target = MAIN_CHANNEL if is_main == 0 else channel
            if self.run_.owed[target] <= 6:
                self.run_.send(target, chosen)

        @precondition(lambda self: not self.is_over and any(self.run_.owed.values()))
        @rule(choice=st.integers(0, 2), count=st.integers(1, 5))
        def step(self, choice: int, count: int) -> None:
            owing = [name for name, owed in self.run_.owed.items() if owed]
            channel = owing[choice % len(owing)]
            for _ in range(min(count, self.run_.owed[channel])):
                self.run_.step(channel)

        @precondition(lambda self: self.phase_is(Phase.PRECOPY, Phase.RECEIVING))
        @rule()
        def end_round(self) -> None:
            self.run_.end_round()

        @precondition(lambda self: self.phase_is(Phase.PRECOPY))
        @rule()
        def end_precopy(self) -> None:
            self.run_.drain()
            self.run_.end_precopy()

        @precondition(lambda self: self.phase_is(Phase.IDLE))
        @rule()
        def begin_checkpoint(self) -> None:
            self.run_.begin_checkpoint()

        @precondition(lambda self: self.phase_is(Phase.RECEIVING))
        @rule()
        def receive_checkpoint(self) -> None:
            self.run_.drain()
            self.run_.receive_checkpoint()

        @precondition(lambda self: self.phase_is(Phase.RECEIVED))
        @rule()
        def commit(self) -> None:
            self.run_.commit()

        @precondition(lambda self: self.phase_is(Phase.RECEIVING) and self.run_.can_send())
        @rule(channel=channels, keep=st.floats(0, 1), draw=st.data())
        def cut(self, channel: str, keep: float, draw: st.DataObject) -> None:
            chosen = draw.draw(st.lists(st.sampled_from(self.run_.peer.sendable()), min_size=1, max_size=4, unique=True))
            self.run_.drain()
            self.run_.cut(channel, chosen, keep)
            self.fail_over()

        @precondition(lambda self: not self.is_over and self.run_.can_fail_over())
        @rule(order=st.permutations(["mfd0", "mfd1", MAIN_CHANNEL]), chance=st.integers(0, 2))
        def failover(self, order: list[str], chance: int) -> None:
            if chance == 0:
                self.fail_over(order)

        def fail_over(self, order: Sequence[str] = ()) -> None:
            """Take over, and end the schedule."""
            self.run_.failover(order)
            self.is_over = True

        def finish(self) -> None:
            """Go on to the next commit, from wherever the schedule has stopped."""
            run = self.run_
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
            if not hasattr(self, "run_"):
                return
            try:
                if not self.run_.reached.is_conclusive:
                    self.finish()
                self.run_.close()
            except BaseException:
                self.run_.abandon()
                raise
            tally.add(self.run_, fired)

    return Schedule


def run_drawn(factory: Factory, count: int, seed: int, tally: Tally, fired: dict[str, int]) -> None:
    """Run schedules until `count` of them were conclusive; Violation, with the shortest schedule found, if the receiver is wrong."""
    machine = machine_for(factory, tally, fired)
    configured = settings(
        max_examples=count,
        stateful_step_count=STEPS_A_SCHEDULE,
        deadline=None,
        database=None,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(hypothesis_seed(seed)(machine), settings=configured)


__all__ = ["DIRECTED", "SHAPES", "VARIANTS", "Directed", "Tally", "Violation", "machine_for", "run_directed", "run_drawn", "run_shape"]
