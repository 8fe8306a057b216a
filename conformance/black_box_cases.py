"""The schedules for a receiver that is seen from outside, each with the id of the rule that it is directed at."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from colofd.conformance.black_box import ISOLATION, BlackBoxRun
from colofd.conformance.schedules import DIRECTED, SHAPES, VARIANTS, plain
from colofd.conformance.subjects import Options
from colofd.spec.constants import MAIN_CHANNEL, TARGET_PAGE_SIZE, Step, pages_per_packet

FULL_FLOW: Final = Options(pages=4 * pages_per_packet(TARGET_PAGE_SIZE))
"""Enough pages that copying a packet of them takes a while."""
LONG_FLUSH: Final = Options(pages=16 * pages_per_packet(TARGET_PAGE_SIZE))
"""Enough pages that flushing all takes a while."""

ABOUT: Final = {
    "closed_between_checkpoints": Step.COMMIT,
    "zero_after_normal_in_precopy": Step.ZERO_PAGE,
    "zero_after_normal_in_checkpoint": Step.ZERO_PAGE,
    "own_write_is_undone": Step.FLUSH_BEGIN,
    "failover_between_payload_and_mirror": Step.MIRROR,
    "failover_before_prepare": Step.PREPARE,
    "failover_with_one_sync_missing": Step.TAKE_OVER,
    "failover_with_one_channel_held": Step.RELEASE_CACHE,
    "round_is_not_overtaken": Step.PARK,
    "main_channel_pages": Step.MAIN_MIRROR,
    "pages_in_a_sync_packet": Step.PARK,
    "cut_in_precopy": Step.GIVE_UP,
    "cut_in_checkpoint": Step.READ_PART,
    "main_channel_cut_in_precopy": Step.MAIN_READ_PART,
    "main_channel_cut_in_checkpoint": Step.MAIN_READ_PART,
    "failover_when_received": Step.CHECKPOINT_RECEIVED,
    "failover_keeps_own_writes": Step.TAKE_OVER,
    "failover_when_answered": Step.ANSWER,
    "failover_in_a_flush": Step.FLUSH_BEGIN,
    "own_write_over_records": Step.MAIN_MIRROR,
    "round_left_open": Step.RELEASE,
    "failover_in_full_flow": Step.MIRROR,
    "failover_at_the_answer": Step.ANSWER,
    "drawn": ISOLATION,
}
"""By the name of a schedule, the id of the rule or clause that it is directed at. `plain` is about the end of precopy."""

_PACKETS_AT_ONCE: Final = 8
_PATIENCE: Final = 1.0
"""Seconds that a channel may take to get into its flow, before the failover of a race."""
_STEP: Final = 0.0001
"""Seconds by which the failover of a race comes later than that before, if that came too early, or earlier."""


@dataclass(frozen=True)
class Case:
    """One schedule in one set-up.

    Attributes:
        name: that of the schedule.
        options: the set-up.
        moves: the schedule.
        is_main_last: the main channel connects after all others.
    """

    name: str
    options: Options
    moves: Callable[[BlackBoxRun], None]
    is_main_last: bool = False

    @property
    def about(self) -> str:
        """The id of the rule or clause that it is directed at."""
        if self.is_main_last:
            return Step.START
        return ABOUT.get(self.name) or (Step.ENTER_COLO if self.options.colo else Step.COMPLETE)

    @property
    def set_up(self) -> str:
        """The set-up in words."""
        blocks = f", {self.options.blocks} blocks" if self.options.blocks > 1 else ""
        last = ", main channel last" if self.is_main_last else ""
        return f"{self.options.channels} channels, {self.options.compression}{blocks}{last}"


def directed_cases() -> Iterator[Case]:
    """Yield the directed schedules in each set-up, and the plain one in each shape; what needs a deferred mirror is left out."""
    # The moves that a black box has are those of the lockstep; it refuses the others itself.
    every: list[tuple[Options, Any]] = [(options, schedule) for options in VARIANTS for schedule in DIRECTED]
    every += [(options, plain) for options in SHAPES]
    yield from (Case(schedule.__name__, options, schedule) for options, schedule in every if not options.is_mirror_deferred)
    some: Any = plain
    yield Case(some.__name__, Options(), some, is_main_last=True)
    yield from (Case(own_write_over_records.__name__, options, own_write_over_records) for options in (Options(), Options(channels=0)))
    yield from (Case(round_left_open.__name__, options, round_left_open) for options in (Options(), Options(colo=False)))


def round_left_open(run: BlackBoxRun) -> None:
    """Precopy ends in the middle of a round: the migration fails, for a page may be on its way."""
    run.primary_writes(2, 1)
    run.end_precopy_in_a_round("mfd0", [2, 3])


def own_write_over_records(run: BlackBoxRun) -> None:
    """Pages of precopy came on the main channel, the guest writes them, and the primary does not: a commit takes them from the cache."""
    run.primary_writes(0, 1)
    run.primary_writes(1, 2)
    run.send((run.peer.channels or [MAIN_CHANNEL])[0], [1])
    run.end_round()
    run.primary_writes(1, 0)
    run.send(MAIN_CHANNEL, [0, 1])
    run.end_precopy()
    for page in (0, 1):
        run.guest_writes(page, 3, is_reported_at_once=True)
    run.begin_checkpoint()
    run.receive_checkpoint()
    run.commit()


def race_cases(count: int) -> Iterator[Case]:
    """Yield each race: that in full flow `count` times, and the long one at the answer two thirds as often."""
    for _ in range(count):
        yield Case(failover_in_full_flow.__name__, FULL_FLOW, failover_in_full_flow)
    aim = Aim()
    for _ in range(-(-2 * count // 3)):
        yield Case(failover_at_the_answer.__name__, LONG_FLUSH, partial(failover_at_the_answer, aim=aim))


def failover_in_full_flow(run: BlackBoxRun) -> None:
    """The latch, as a race: pages of a checkpoint arrive without end, and the secondary takes over in the middle of them."""
    run.primary_writes_all(1)
    run.end_precopy()
    run.begin_checkpoint()
    run.primary_writes_all(2)
    room = pages_per_packet(run.options.page_size)
    shares = {name: range(number * room, (number + 1) * room) for number, name in enumerate(run.peer.channels)}
    stop = threading.Event()
    flowing = {name: threading.Event() for name in shares}
    flows = [threading.Thread(target=_flow, args=(run, name, list(pages), stop, flowing[name])) for name, pages in shares.items()]
    for flow in flows:
        flow.start()
    try:
        for begun in flowing.values():
            begun.wait(_PATIENCE)
        run.failover()
    finally:
        stop.set()
        for flow in flows:
            flow.join()


def _flow(run: BlackBoxRun, channel: str, pages: Sequence[int], stop: threading.Event, flowing: threading.Event) -> None:
    # Made once: a channel that runs dry has no packet to hold.
    run.note_arrivals(channel, pages)
    packets = run.peer.packet(channel, run.peer.take(pages)) * _PACKETS_AT_ONCE
    with contextlib.suppress(OSError):
        while not stop.is_set():
            run.peer.ends[channel].sendall(packets)
            flowing.set()


@dataclass
class Aim:
    """When to take over, so that it falls into the flush: `delay` seconds after the last byte of the checkpoint; it may be negative."""

    delay: float = 0.0

    def learn(self, replies: int) -> None:
        """Learn from a race: with no reply to the checkpoint it was too early, and with both, that it is received and loaded, too late."""
        self.delay += _STEP if replies == 0 else -_STEP if replies > 1 else 0.0


def failover_at_the_answer(run: BlackBoxRun, aim: Aim) -> None:
    """The last byte of a checkpoint is sent, and the secondary takes over: if it has answered, that checkpoint counts, else the last."""
    run.primary_writes_all(1)
    run.end_precopy()
    run.begin_checkpoint()
    run.primary_writes_all(2)
    run.receive_checkpoint()
    aim.learn(run.race_to_the_answer(aim.delay))
