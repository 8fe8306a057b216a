"""The schedules get where they want to go, and the drawn ones are the same for the same seed."""

from collections.abc import Sequence
from typing import Final

import pytest

from colofd.conformance import schedules
from colofd.conformance.drawn import HANGS, run_drawn
from colofd.conformance.lockstep import Lockstep
from colofd.conformance.schedules import DIRECTED, SHAPES, VARIANTS, Directed, Tally, run_directed, run_shape
from colofd.conformance.subjects import BuiltIn, Options
from colofd.conformance.violation import Violation
from colofd.spec.constants import MAIN_CHANNEL, Compression, Step
from colofd.spec.state import Phase
from tests.conformance.fakes import Said, recording, saying, wrong_digests

Way = Sequence[tuple[Step, str]]
"""Micro-steps with their channels, in this order, among others."""

PRECOPY: Final = ((Step.ENTER_COLO, MAIN_CHANNEL),)
CHECKPOINT: Final = (*PRECOPY, (Step.CHECKPOINT_BEGIN, MAIN_CHANNEL))
COMMIT: Final = ((Step.FLUSH_BEGIN, MAIN_CHANNEL), (Step.FLUSH_PAGE, MAIN_CHANNEL), (Step.COMMIT, MAIN_CHANNEL))
TAKE_OVER: Final = ((Step.TAKE_OVER, ""),)
FREED: Final = ((Step.RELEASE_CACHE, ""), (Step.RELEASE_RECEIVEDMAP, ""))

WAYS: Final[dict[Directed, Way]] = {
    schedules.closed_between_checkpoints: (*CHECKPOINT, *COMMIT, (Step.STOP, ""), *FREED),
    schedules.zero_after_normal_in_precopy: (
        (Step.READ_PAGE, "mfd0"),
        (Step.MIRROR, "mfd0"),
        (Step.RELEASE, MAIN_CHANNEL),
        (Step.ZERO_PAGE, "mfd1"),
        (Step.MIRROR, "mfd1"),
        *PRECOPY,
    ),
    schedules.zero_after_normal_in_checkpoint: (*CHECKPOINT, (Step.ZERO_PAGE, "mfd0"), *COMMIT, (Step.ZERO_PAGE, "mfd0"), *COMMIT),
    schedules.own_write_is_undone: (*CHECKPOINT, *COMMIT),
    schedules.failover_between_payload_and_mirror: (
        *CHECKPOINT,
        (Step.PAYLOAD_COMPLETE, "mfd0"),
        *TAKE_OVER,
        (Step.MIRROR, "mfd0"),
        *FREED,
    ),
    schedules.failover_before_prepare: (*CHECKPOINT, *TAKE_OVER, (Step.EXIT, "mfd1"), *FREED),
    schedules.failover_with_one_sync_missing: (
        *CHECKPOINT,
        (Step.PACKET_DONE, "mfd1"),
        (Step.PARK, "mfd0"),
        *TAKE_OVER,
        *FREED,
    ),
    schedules.failover_with_one_channel_held: (
        *CHECKPOINT,
        (Step.PARK, "mfd0"),
        (Step.PREPARE, "mfd1"),
        *TAKE_OVER,
        (Step.READ_PAGE, "mfd1"),
        *FREED,
    ),
    schedules.failover_when_received: (*CHECKPOINT, (Step.CHECKPOINT_RECEIVED, MAIN_CHANNEL), *TAKE_OVER, *FREED),
    schedules.failover_keeps_own_writes: (*CHECKPOINT, (Step.CHECKPOINT_RECEIVED, MAIN_CHANNEL), *TAKE_OVER, *FREED),
    schedules.failover_when_answered: (*CHECKPOINT, (Step.ANSWER, MAIN_CHANNEL), *COMMIT, *TAKE_OVER, *FREED),
    schedules.failover_in_a_flush: (*CHECKPOINT, *COMMIT, *TAKE_OVER, *FREED),
    schedules.round_is_not_overtaken: (
        (Step.PARK, "mfd0"),
        (Step.PACKET_DONE, "mfd1"),
        (Step.PARK, "mfd1"),
        (Step.RELEASE, MAIN_CHANNEL),
        (Step.PREPARE, "mfd0"),
        *PRECOPY,
    ),
    schedules.main_channel_pages: (
        (Step.MAIN_READ_PAGE, MAIN_CHANNEL),
        (Step.MAIN_MIRROR, MAIN_CHANNEL),
        (Step.RELEASE, MAIN_CHANNEL),
        (Step.MAIN_ZERO_PAGE, MAIN_CHANNEL),
        (Step.MAIN_MIRROR, MAIN_CHANNEL),
        *CHECKPOINT,
        (Step.MAIN_ZERO_PAGE, MAIN_CHANNEL),
        (Step.MAIN_READ_PAGE, MAIN_CHANNEL),
        *COMMIT,
    ),
    schedules.pages_in_a_sync_packet: ((Step.PACKET_DONE, "mfd0"), (Step.PARK, "mfd0"), *CHECKPOINT, (Step.PACKET_DONE, "mfd0"), *COMMIT),
    schedules.cut_in_precopy: ((Step.READ_PART, "mfd0"), (Step.GIVE_UP, "mfd0"), *FREED),
    schedules.cut_in_checkpoint: (*CHECKPOINT, (Step.READ_PART, "mfd1"), (Step.EXIT, "mfd1"), *TAKE_OVER, *FREED),
    schedules.main_channel_cut_in_precopy: ((Step.MAIN_READ_PART, MAIN_CHANNEL), (Step.GIVE_UP, MAIN_CHANNEL), *FREED),
    schedules.main_channel_cut_in_checkpoint: (
        *CHECKPOINT,
        (Step.MAIN_READ_PART, MAIN_CHANNEL),
        (Step.EXIT, MAIN_CHANNEL),
        *TAKE_OVER,
        *FREED,
    ),
}

UNREACHED: Final[frozenset[Step]] = frozenset()
"""Micro-steps that no directed schedule and no set-up takes, if there is a reason for it."""


def goes(way: Way, events: Sequence[Said]) -> bool:
    """Return whether the steps of `way` are among the events in this order."""
    taken = iter([(event.step, event.channel) for event in events])
    return all(wanted in taken for wanted in way)


def events_of(schedule: Directed, options: Options = VARIANTS[0]) -> list[Said]:
    events: list[Said] = []
    run_directed(recording(events), schedule, options)
    return events


def test_every_directed_schedule_has_a_way() -> None:
    """Given the directed schedules, then for each of them it is written down below where it goes."""
    assert set(WAYS) == set(DIRECTED)


@pytest.mark.parametrize("options", VARIANTS, ids=lambda options: f"{options.compression}{'-deferred' * options.is_mirror_deferred}")
@pytest.mark.parametrize("schedule", DIRECTED, ids=lambda schedule: schedule.__name__)
def test_a_directed_schedule_goes_where_it_says(schedule: Directed, options: Options) -> None:
    """Given a directed schedule, when it runs, then the micro-steps that it is about are taken, in their order."""
    events = events_of(schedule, options)
    way = WAYS[schedule]
    if options.compression is not Compression.NONE:
        # A compressed payload touches no page before all of it is here.
        way = tuple(said for said in way if said[0] is not Step.READ_PART)
    assert goes(way, events), [(event.step, event.channel) for event in events]


def test_a_way_that_is_not_gone_is_noticed() -> None:
    """Given the way of another schedule (the control of the test above), then it is not the one that was gone."""
    events = events_of(schedules.closed_between_checkpoints)
    assert not goes(WAYS[schedules.failover_when_received], events)
    assert not goes(((Step.COMMIT, MAIN_CHANNEL), (Step.ENTER_COLO, MAIN_CHANNEL)), events)


class Watched(Lockstep):
    """Notes where everybody is when failover comes."""

    held: dict[str, Step]
    phase: Phase

    def failover(self, order: Sequence[str] = ()) -> None:
        """Take over, and note what was before."""
        self.held, self.phase = self.gates.arrived(), self.machine.phase
        super().failover(order)


@pytest.mark.parametrize(
    ("schedule", "phase", "channel", "step"),
    [
        (schedules.failover_between_payload_and_mirror, Phase.RECEIVING, "mfd0", Step.MIRROR),
        (schedules.failover_before_prepare, Phase.RECEIVING, "mfd1", Step.PREPARE),
        (schedules.failover_with_one_channel_held, Phase.RECEIVING, "mfd1", Step.READ_PAGE),
        (schedules.failover_when_received, Phase.RECEIVED, MAIN_CHANNEL, Step.ANSWER),
        (schedules.failover_when_answered, Phase.RECEIVED, MAIN_CHANNEL, Step.FLUSH_BEGIN),
    ],
)
def test_failover_comes_where_a_thread_is_held(schedule: Directed, phase: Phase, channel: str, step: Step) -> None:
    """Given a schedule about failover, when failover comes, then the thread that it is about waits at that micro-step."""
    run = Watched(BuiltIn, Options())
    schedule(run)
    run.close()
    assert run.phase is phase
    assert run.held.get(channel) == step


@pytest.mark.parametrize(
    ("schedule", "step", "page"),
    [
        (schedules.zero_after_normal_in_precopy, Step.ZERO_PAGE, 3),
        (schedules.zero_after_normal_in_checkpoint, Step.FLUSH_PAGE, 5),
        (schedules.own_write_is_undone, Step.FLUSH_PAGE, 2),
        (schedules.own_write_is_undone, Step.FLUSH_PAGE, 7),
        (schedules.main_channel_pages, Step.MAIN_ZERO_PAGE, 4),
    ],
)
def test_a_schedule_is_about_its_page(schedule: Directed, step: Step, page: int) -> None:
    """Given a schedule about a page, when it runs, then the step in question is taken for that page."""
    assert any(event.step is step and page in (*event.pages, *event.zero_pages) for event in events_of(schedule))


def test_every_micro_step_is_taken_by_some_schedule() -> None:
    """Given the directed schedules and the set-ups, when all have run, then no micro-step is left that none has taken."""
    taken: set[str] = set()
    for options in VARIANTS[:2]:
        for schedule in DIRECTED:
            taken |= run_directed(BuiltIn, schedule, options).acceptor.fired.keys()
    for options in SHAPES:
        taken |= run_shape(BuiltIn, options).acceptor.fired.keys()
    assert set(Step) - taken == UNREACHED


def drawn(seed: int) -> tuple[Tally, dict[str, int]]:
    tally, fired = Tally(), dict[str, int]()
    run_drawn(BuiltIn, 10, seed, tally, fired)
    return tally, fired


def test_drawn_schedules_are_the_same_for_the_same_seed() -> None:
    """Given a seed, when schedules are drawn twice, then both did the same; another seed does something else."""
    first = drawn(3)
    assert drawn(3) == first
    assert drawn(4) != first


def test_every_drawn_schedule_is_conclusive() -> None:
    """Given drawn schedules, when they have run, then each of them has ended with a commit or a failover, and both are among them."""
    tally, _ = drawn(3)
    assert tally.conclusive == tally.schedules >= 10
    assert tally.checkpoints > 0
    assert tally.failovers > 0


def test_drawn_schedules_find_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    """Given a subject that is wrong, when schedules are drawn, then a violation with a short schedule is raised, and nothing printed."""
    with pytest.raises(Violation) as caught:
        run_drawn(wrong_digests(Step.READ_PAGE), 20, 1, Tally(), {})
    assert caught.value.rule == Step.READ_PAGE
    assert len(caught.value.moves) < 40
    assert not capsys.readouterr().out


def test_drawn_schedules_are_few_if_it_hangs() -> None:
    """Given a subject that stalls in every checkpoint, when schedules are drawn, then it is waited for a few times, and no more."""
    commits: list[str] = []

    def silent(event: Said) -> list[Said]:
        commits.extend([event.step] * (event.step is Step.COMMIT))
        return [] if event.step is Step.COMMIT else [event]

    with pytest.raises(Violation, match="progress: main did not finish a micro-step"):
        run_drawn(saying(silent), 50, 1, Tally(), {}, stall_seconds=0.3)
    assert 1 <= len(commits) <= HANGS
