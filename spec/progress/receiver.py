"""What the destination reaches by itself: a packet, a round, a flush, a failover and the release of its memory."""

from colofd.spec.both_sides import BOTH_SIDES, BothSides
from colofd.spec.constants import Step
from colofd.spec.language import Except, Expr, Progress, ProgressBook, some
from colofd.spec.progress.terms import (
    CHANNEL_EXITS,
    EMPTY_PACKET,
    INCOMING,
    LEFT,
    MORE_PAGES,
    MULTIFD_STEPS,
    ROUND_STEPS,
    STOPPED,
    TO_LAND,
    all_receive,
    is_over,
    round_parts,
)
from colofd.spec.state import (
    At,
    Carried,
    Channel,
    Page,
    Phase,
    is_in_colo,
    is_multifd,
    is_receiving,
)

progress = ProgressBook(BOTH_SIDES, BothSides)


def _packet(s: BothSides, channel: Expr[Channel]) -> Progress:
    """Return what remains of a packet: its pages have to land, then to be mirrored, then the thread is ready."""
    at = s.channel_at[channel]
    return Progress(
        during=is_multifd(channel) & at.within(At.BODY, At.PROCESSING),
        goal=at == At.READY,
        remaining=(
            some(Page)(lambda p: s.packet[channel, p].within(*TO_LAND)),
            some(Page)(lambda p: s.packet[channel, p] != Carried.NOTHING),
            at == At.BODY,
        ),
    )


@progress.measure("packet.is-done", source="migration/multifd.c:multifd_recv_thread", helpful=MULTIFD_STEPS[1:], excused=[CHANNEL_EXITS])
def packet_is_done(s: BothSides, channel: Expr[Channel]) -> Progress:
    """A packet whose header is accepted is done at last if its bytes come, in every phase, whatever happens to other channels."""
    return _packet(s, channel)


@progress.measure(
    "barrier.is-released",
    source="migration/multifd.c:multifd_recv_sync_main",
    helpful=ROUND_STEPS,
    excused=[CHANNEL_EXITS, EMPTY_PACKET, *MORE_PAGES, *LEFT],
)
def barrier_is_released(s: BothSides) -> Progress:
    """A round ends: what was sent lands, every multifd channel reads its SYNC, and the barrier opens."""
    return Progress(is_receiving(s) & all_receive(s), is_over(s), round_parts(s))


@progress.measure(
    "flush.commits",
    source="migration/ram.c:colo_flush_ram_cache",
    helpful=(Step.FLUSH_PAGE, Step.COMMIT),
)
def flush_commits(s: BothSides) -> Progress:
    """A flush ends with its commit, whatever happens to channels, messages and the primary."""
    return Progress(s.phase == Phase.FLUSHING, s.phase == Phase.IDLE, (some(Page)(lambda p: s.peer_dirty[p]),))


@progress.measure("answer.flushes", source=INCOMING, helpful=(Step.FLUSH_BEGIN,))
def answer_flushes(s: BothSides) -> Progress:
    """A checkpoint that was answered is flushed, whatever happens to channels, messages and the primary."""
    return Progress((s.phase == Phase.RECEIVED) & s.is_promised, s.phase == Phase.FLUSHING)


@progress.measure("precopy.fails", source="migration/migration.c:process_incoming_migration_co, fail", helpful=(Step.GIVE_UP,))
def precopy_fails(s: BothSides) -> Progress:
    """A precopy that is given up ends at once, unless it has just succeeded; no channel and no primary is waited for."""
    precopy = s.phase.within(Phase.PRECOPY, Phase.FILLING)
    return Progress(precopy, s.phase.within(Phase.FAILED, Phase.COMPLETED, Phase.IDLE))


@progress.measure(
    "failover.takes-over",
    source="migration/colo.c:secondary_vm_do_failover; 11.1.3 waits in multifd_recv_sync_main for a SYNC that never comes",
    helpful=(Step.TAKE_OVER,),
    excused=[
        STOPPED,
        Except(Step.ANSWER, "who is asked for a failover answers no more; what was answered before is committed first, by answer.flushes"),
    ],
)
def failover_takes_over(s: BothSides) -> Progress:
    """A failover that is asked for while no checkpoint is answered takes place, whatever happens to channels and the primary."""
    return Progress(is_in_colo(s) & (s.phase != Phase.FLUSHING) & ~s.is_promised, s.phase == Phase.FAILOVER)


@progress.measure(
    "shutdown.releases",
    source="migration/migration.c:migration_incoming_state_destroy; ram.c:ram_load_cleanup",
    helpful=(Step.EXIT, Step.RELEASE_CACHE, Step.RELEASE_RECEIVEDMAP),
)
def shutdown_releases(s: BothSides, phase: Expr[Phase]) -> Progress:
    """After an end, every receive thread ends, then the cache and the receivedmap are released, and the end stays the same.

    That a thread ends is the receiver's doing here: it shuts all channels down, so that no read and no barrier holds a thread.
    """
    is_end = (s.phase == phase) & phase.within(Phase.FAILOVER, Phase.STOPPED, Phase.COMPLETED, Phase.FAILED)
    return Progress(
        is_end,
        (s.phase == phase) & ~s.cache_allocated & ~s.receivedmap_allocated,
        (some(Channel)(lambda c: s.channel_at[c] != At.EXITED), s.cache_allocated, s.receivedmap_allocated),
    )


@progress.chain(
    "failover.completes",
    source="all or nothing: the thread of the series (Peter Xu), 2026-01-21; 11.1.3 deadlocks where a SYNC never comes",
    links=["answer.flushes", "flush.commits", "failover.takes-over", ("shutdown.releases", {"phase": Phase.FAILOVER})],
)
def failover_completes(s: BothSides) -> tuple[Expr[bool], Expr[bool]]:
    """A failover ends with the guest taken over and everything released, from anywhere in COLO and whatever channels and primary do.

    It is up to the receiver alone: from when it is asked for, no other checkpoint is answered, and COLO is not left otherwise.
    """
    return is_in_colo(s), (s.phase == Phase.FAILOVER) & ~s.cache_allocated & ~s.receivedmap_allocated
