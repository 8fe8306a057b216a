"""The order in which phases, threads, packets, rounds and the primary go on: no step does anything else."""

from collections.abc import Mapping
from enum import Enum
from typing import Final, TypeVar

from colofd.spec.both_sides import BothSides, PrimaryAt
from colofd.spec.language import Expr, every
from colofd.spec.state import MAIN, At, Carried, Channel, Page, Phase, World, carries_nothing, is_multifd, is_receiving
from colofd.spec.steps.books import steps, steps_of_both

E = TypeVar("E", bound=Enum)

_LANDED: Final = (Carried.NORMAL_LANDED, Carried.ZERO_LANDED)


def _follows(now: Expr[E], then: Expr[E], order: Mapping[E, tuple[E, ...]]) -> Expr[bool]:
    """Return whether nothing changed, or `then` is one of those that may follow on `now`."""
    allowed = now == then
    for member, following in order.items():
        allowed = allowed | (now == member) & then.within(*following)
    return allowed


def _all_parked(s: World) -> Expr[bool]:
    return every(Channel)(lambda c: is_multifd(c) >> (s.channel_at[c] == At.PARKED))


@steps.claim("order.phase", source="migration/migration.c:process_incoming_migration_co; colo.c:colo_process_incoming_thread")
def phases_in_order(now: World, then: World) -> Expr[bool]:
    """Phases follow on one another in this order, and an end is an end."""
    at_rest = (Phase.FAILOVER, Phase.STOPPED)
    order = {
        Phase.SETUP: (Phase.PRECOPY,),
        Phase.PRECOPY: (Phase.FILLING, Phase.IDLE, Phase.COMPLETED, Phase.FAILED),
        Phase.FILLING: (Phase.IDLE, Phase.FAILED),
        Phase.IDLE: (Phase.RECEIVING, *at_rest),
        Phase.RECEIVING: (Phase.RECEIVED, *at_rest),
        Phase.RECEIVED: (Phase.FLUSHING, *at_rest),
        Phase.FLUSHING: (Phase.IDLE,),
    }
    return _follows(now.phase, then.phase, order)


@steps.claim("order.thread", source="migration/multifd.c:multifd_recv_thread; ram.c:ram_load_precopy")
def threads_in_order(now: World, then: World, channel: Expr[Channel]) -> Expr[bool]:
    """A thread goes from header to payload to mirroring and back, or parks in between; one that has ended takes no more steps."""
    order = {
        At.READY: (At.BODY, At.PARKED, At.EXITED),
        At.BODY: (At.PROCESSING, At.EXITED),
        At.PROCESSING: (At.READY, At.EXITED),
        At.PARKED: (At.READY, At.EXITED),
    }
    return _follows(now.channel_at[channel], then.channel_at[channel], order)


@steps.claim("order.end", source="migration/multifd.c:multifd_recv_terminate_threads")
def only_packets_end(now: World, then: World, channel: Expr[Channel]) -> Expr[bool]:
    """Where no packet may arrive, a thread finishes what it has begun, or ends: it begins no packet, and passes no barrier."""
    before, after = now.channel_at[channel], then.channel_at[channel]
    finishes = (before == At.BODY) & (after == At.PROCESSING) | (before == At.PROCESSING) & (after == At.READY)
    return is_receiving(now) | (before == after) | (after == At.EXITED) | finishes


@steps.claim(
    "order.packet", source="migration/multifd-nocomp.c:multifd_queue_page, multifd_nocomp_recv; multifd-colo.c:multifd_colo_process_recv"
)
def pages_in_order(now: World, then: World, channel: Expr[Channel], page: Expr[Page]) -> Expr[bool]:
    """A page that must be sent joins a packet and need not be sent any more, lands as what it was sent as, and is mirrored after that."""
    before, after, at = now.packet[channel, page], then.packet[channel, page], now.channel_at[channel]
    joins = (before == Carried.NOTHING) & after.within(Carried.NORMAL, Carried.ZERO) & (at == At.READY) & is_receiving(now)
    is_owed = now.unsent[page] & ~then.unsent[page]
    lands = (before == Carried.NORMAL) & (after == Carried.NORMAL_LANDED) | (before == Carried.ZERO) & (after == Carried.ZERO_LANDED)
    leaves = before.within(*_LANDED) & (after == Carried.NOTHING) & (at == At.PROCESSING)
    return (before == after) | joins & is_owed | lands & (at == At.BODY) | leaves


@steps.claim("order.barrier", source="migration/multifd.c:multifd_recv_sync_main")
def barrier_is_common(now: World, then: World, channel: Expr[Channel]) -> Expr[bool]:
    """A parked thread goes on only with all others."""
    goes_on = (now.channel_at[channel] == At.PARKED) & (then.channel_at[channel] == At.READY)
    return goes_on >> _all_parked(now)


@steps.claim("order.round", source="migration/multifd-nocomp.c:multifd_ram_flush_and_sync")
def rounds_end_at_barriers(now: World, then: World, page: Expr[Page]) -> Expr[bool]:
    """A round ends at a barrier, while packets may arrive, and only then."""
    at_barrier = is_receiving(now) & _all_parked(now) & carries_nothing(now, MAIN)
    return (now.sent[page] & ~then.sent[page]) >> at_barrier


# Both sides.


@steps_of_both.claim("order.primary", source="migration/colo.c:colo_process_checkpoint, colo_do_checkpoint_transaction")
def primary_in_order(now: BothSides, then: BothSides) -> Expr[bool]:
    """The primary goes from one checkpoint to the next in this order; from COLO on it may be left alone, and it may die anywhere."""
    lost = (PrimaryAt.ALONE, PrimaryAt.DEAD)
    order = {
        PrimaryAt.PRECOPY: (PrimaryAt.SENT, PrimaryAt.DEAD),
        PrimaryAt.RUNNING: (PrimaryAt.REQUESTED, *lost),
        PrimaryAt.REQUESTED: (PrimaryAt.SENDING, *lost),
        PrimaryAt.SENDING: (PrimaryAt.SENT, *lost),
        PrimaryAt.SENT: (PrimaryAt.RUNNING, PrimaryAt.RELEASED, *lost),
        PrimaryAt.RELEASED: (PrimaryAt.RUNNING, *lost),
        PrimaryAt.ALONE: (PrimaryAt.DEAD,),
    }
    return _follows(now.primary_at, then.primary_at, order)


@steps_of_both.claim("order.sent", source="migration/colo.c:colo_do_checkpoint_transaction; ram.c:ram_save_complete")
def pages_leave_in_time(now: BothSides, then: BothSides, page: Expr[Page]) -> Expr[bool]:
    """Pages leave in precopy, and while the primary is stopped for a checkpoint."""
    return (now.sent[page] | ~then.sent[page]) | now.primary_at.within(PrimaryAt.PRECOPY, PrimaryAt.SENDING)


@steps_of_both.claim("order.start", source="migration/migration.c:process_incoming_migration_bh; colo.c:colo_process_incoming_thread")
def guest_starts_from_what_was_sent(now: BothSides, then: BothSides) -> Expr[bool]:
    """Precopy ends well only with a primary that has sent everything, device state too, and is not lost when the guest starts."""
    goes_on = (now.phase == Phase.PRECOPY) & then.phase.within(Phase.FILLING, Phase.IDLE, Phase.COMPLETED)
    starts = goes_on | (now.phase == Phase.FILLING) & (then.phase == Phase.IDLE)
    return starts >> (now.primary_at == PrimaryAt.SENT)
