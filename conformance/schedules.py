"""Directed schedules: short ways that go straight to where receivers have been wrong."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from colofd.conformance.gates import STALL_SECONDS
from colofd.conformance.lockstep import Lockstep
from colofd.conformance.recording import recording
from colofd.conformance.saved_schedule import Seen
from colofd.conformance.subjects import Factory, Options
from colofd.spec.constants import MAIN_CHANNEL, Compression, Step
from colofd.spec.language import Spec
from colofd.spec.protocol import BOTH_SIDES

CONTENTS: Final = 4
"""Different page contents of a schedule: 0 is zeros."""


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
        for counted in (run.acceptor.fired, run.exercised):
            for identifier, count in counted.items():
                fired[identifier] = fired.get(identifier, 0) + count

    def add_all(self, other: "Tally") -> None:
        """Count what another one has counted."""
        self.schedules += other.schedules
        self.conclusive += other.conclusive
        self.checkpoints += other.checkpoints
        self.failovers += other.failovers
        self.micro_steps += other.micro_steps


def _enter_colo(run: Lockstep, pages: Sequence[int] = (0, 1, 2)) -> None:
    """Precopy with some pages that are not zero, then COLO."""
    for page in pages:
        run.primary_writes(page, page % (CONTENTS - 1) + 1)
    run.end_precopy()


def _checkpoint(run: Lockstep) -> None:
    run.begin_checkpoint()
    run.receive_checkpoint()
    run.commit()


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
    run.guest_writes(7, 1, is_reported_at_once=True)
    run.guest_writes(2, 3, is_reported_at_once=False)
    run.primary_writes(4, 1)
    _checkpoint(run)


def failover_between_payload_and_mirror(run: Lockstep) -> None:
    """The latch: a packet of a checkpoint has landed in the cache, failover comes, and its pages must not reach the guest."""
    _enter_colo(run)
    run.primary_writes(0, 2)
    run.primary_writes(1, 0)
    run.begin_checkpoint()
    run.send("mfd0", [0, 1])
    run.hold("mfd0", Step.MIRROR)
    run.failover()


def failover_before_prepare(run: Lockstep) -> None:
    """The header of a packet was read in a checkpoint and is prepared after failover: the packet is dropped."""
    _enter_colo(run)
    run.primary_writes(0, 2)
    run.begin_checkpoint()
    run.send("mfd1", [0])
    run.hold("mfd1", Step.PREPARE)
    run.failover()


def failover_with_one_sync_missing(run: Lockstep) -> None:
    """One channel's SYNC never comes, its pages do: failover completes all the same."""
    _enter_colo(run)
    run.primary_writes(0, 2)
    run.primary_writes(1, 3)
    run.begin_checkpoint()
    run.send("mfd0", [0])
    run.send("mfd1", [1])
    run.end_round_without("mfd1")
    run.failover()


def failover_with_one_channel_held(run: Lockstep) -> None:
    """One channel parks while another one is held between header and payload: failover completes, and the cache outlives the thread."""
    _enter_colo(run)
    run.primary_writes(0, 2)
    run.primary_writes(1, 3)
    run.begin_checkpoint()
    run.send("mfd0", [0])
    run.drain()
    run.end_round_without("mfd1")
    run.send("mfd1", [1])
    run.hold("mfd1", Step.READ_PAGE)
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
    """Pages and zero pages on the main channel, beside multifd, before COLO and in a checkpoint; a page of precopy turns zero."""
    run.primary_writes(0, 1)
    run.primary_writes(4, 2)
    run.send(MAIN_CHANNEL, [0, 1, 4])
    run.send("mfd0", [2, 3])
    run.drain()
    run.end_round()
    run.primary_writes(4, 0)
    run.send(MAIN_CHANNEL, [4])
    run.drain()
    run.end_precopy()
    run.primary_writes(0, 0)
    run.primary_writes(1, 3)
    run.begin_checkpoint()
    run.send(MAIN_CHANNEL, [0, 1])
    run.drain()
    run.receive_checkpoint()
    run.commit()


def pages_in_a_sync_packet(run: Lockstep) -> None:
    """The packet that ends a round carries pages, as it may before 9.0: they belong to that round."""
    run.primary_writes(0, 1)
    run.end_round([0, 1])
    _enter_colo(run)
    run.primary_writes(0, 0)
    run.primary_writes(3, 2)
    run.begin_checkpoint()
    run.end_round([0, 3])
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


def main_channel_cut_in_precopy(run: Lockstep) -> None:
    """The main channel dies in the middle of a page, before COLO: the migration fails and everything is freed."""
    run.primary_writes(2, 1)
    run.cut(MAIN_CHANNEL, [2], 0.7)


def main_channel_cut_in_checkpoint(run: Lockstep) -> None:
    """The main channel dies in the middle of a page of a checkpoint: half of it is in the cache, and none of it in the guest."""
    _enter_colo(run)
    run.primary_writes(2, 3)
    run.begin_checkpoint()
    run.cut(MAIN_CHANNEL, [2], 0.4)
    run.failover()


def failover_when_received(run: Lockstep) -> None:
    """The whole checkpoint is in the cache, none of it in the guest: failover leaves the last commit."""
    _enter_colo(run)
    run.primary_writes(2, 3)
    run.begin_checkpoint()
    run.receive_checkpoint()
    run.failover()


def failover_keeps_own_writes(run: Lockstep) -> None:
    """The same, and the guest has written a page of its own since the last commit: it keeps that."""
    _enter_colo(run)
    run.primary_writes(2, 3)
    run.guest_writes(6, 2, is_reported_at_once=True)
    run.begin_checkpoint()
    run.receive_checkpoint()
    run.failover()


def failover_when_answered(run: Lockstep) -> None:
    """The primary was told that the checkpoint is received, and has let its output go: failover waits for the commit."""
    _enter_colo(run)
    run.primary_writes(2, 3)
    run.primary_writes(0, 0)
    run.begin_checkpoint()
    run.receive_checkpoint()
    run.answer()
    run.failover()


def failover_in_a_flush(run: Lockstep) -> None:
    """A flush has begun: failover waits for its end, and leaves the whole checkpoint."""
    _enter_colo(run)
    run.primary_writes(0, 2)
    run.primary_writes(1, 0)
    run.begin_checkpoint()
    run.receive_checkpoint()
    run.begin_flush()
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
    failover_with_one_channel_held,
    round_is_not_overtaken,
    main_channel_pages,
    pages_in_a_sync_packet,
    cut_in_precopy,
    cut_in_checkpoint,
    main_channel_cut_in_precopy,
    main_channel_cut_in_checkpoint,
    failover_when_received,
    failover_keeps_own_writes,
    failover_when_answered,
    failover_in_a_flush,
)
"""Shortest ways to where receivers were wrong; the first is the smoke case."""

VARIANTS: Final = (
    Options(),
    Options(is_mirror_deferred=True),
    Options(compression=Compression.ZLIB),
    Options(compression=Compression.ZSTD),
)


def run_directed(
    factory: Factory,
    schedule: Directed,
    options: Options,
    stall_seconds: float = STALL_SECONDS,
    *,
    is_watched: bool = False,
    spec: Spec = BOTH_SIDES,
) -> Lockstep:
    """Run one directed schedule to its end; Violation if the receiver is wrong by `spec`, or stalls for so many seconds.

    `is_watched`: every clause is checked after every micro-step, and it is counted where it says something.
    """
    run = recording(Lockstep(factory, options, stall_seconds, is_watched=is_watched, spec=spec), Seen.WITHIN)
    try:
        schedule(run)
        run.close()
    except BaseException:
        run.abandon()
        raise
    return run


def plain(run: Lockstep) -> None:
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
    Options(blocks=3),
    Options(blocks=3, channels=0, is_mirror_deferred=True),
)
"""Other set-ups, each of which runs one plain schedule."""


def run_shape(factory: Factory, options: Options, stall_seconds: float = STALL_SECONDS, *, spec: Spec = BOTH_SIDES) -> Lockstep:
    """Run the plain schedule on another set-up; Violation if the receiver is wrong, or stalls for so many seconds."""
    return run_directed(factory, plain, options, stall_seconds, is_watched=True, spec=spec)
