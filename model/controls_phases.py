"""Known mistakes of the way through the phases: start, sender, barriers, flush, failover, release."""

from colofd.model.controls_declared import Shows, of_receive_path
from colofd.model.finite import Sizes
from colofd.model.proof_obligations import Kind
from colofd.spec.constants import Step
from colofd.spec.language import Expr, Literal, every, where
from colofd.spec.state import (
    MAIN,
    At,
    Carried,
    Channel,
    Page,
    Phase,
    World,
    all_sent,
    carries_nothing,
    is_multifd,
    is_receiving,
    is_settled,
)

controls = of_receive_path()

_RAM_CACHE = "colo: Setup ram cache in normal migration path"


# Flush.


@controls.wrong(
    "flush without own dirty log",
    Step.FLUSH_BEGIN,
    must_fail=("checkpoint.flush-begin keeps mirror.dirty-covers",),
    shows=Shows(Kind.COMMIT),
    source="ours: migration/ram.c:colo_flush_ram_cache without its sync of the log",
)
def _flush_without_own_dirty(s: World) -> None:
    """The secondary's own dirty log is cleared without having joined the dirty bitmap."""
    s.when(s.phase == Phase.RECEIVED)
    s.phase = Phase.FLUSHING
    s.guest_running = False
    s.own_dirty[:] = False


@controls.wrong(
    "flush of a running guest",
    Step.FLUSH_BEGIN,
    must_fail=("checkpoint.flush-begin keeps phase.guest-runs",),
    shows=Shows("phase.guest-runs"),
    source="ours; a device state loaded while the guest runs was a crash (gitlab 839)",
)
def _flush_running(s: World) -> None:
    """The secondary's guest is not stopped for a flush."""
    s.when(s.phase == Phase.RECEIVED)
    s.phase = Phase.FLUSHING
    s.peer_dirty[:] = lambda q: s.peer_dirty[q] | s.own_dirty[q]
    s.own_dirty[:] = False


@controls.wrong(
    "flush at the end of a section",
    Step.FLUSH_PAGE,
    must_fail=("checkpoint.flush-page keeps isolation.guest",),
    shows=Shows("isolation.guest"),
    source='before "migration/colo: Only flush ram cache while do checkpoint" (5.0)',
)
def _flush_while_receiving(s: World, page: Expr[Page]) -> None:
    """What has arrived is flushed whenever a section ends: half a checkpoint reaches the guest."""
    s.when(s.phase.within(Phase.FILLING, Phase.FLUSHING, Phase.RECEIVING), s.peer_dirty[page])
    s.guest[page] = s.cache[page]
    s.peer_dirty[page] = False


@controls.wrong(
    "flush of a run copies one page",
    Step.FLUSH_PAGE,
    must_fail=("checkpoint.flush-page keeps mirror.dirty-covers",),
    shows=Shows(Kind.COMMIT, sizes=Sizes(1, 2, 2)),
    source='ours, at "Reduce the PVM stop time during Checkpoint" (a6a83cef9c58, 7.0), which copies runs of pages',
)
def _flush_one_page_of_a_run(s: World, page: Expr[Page]) -> None:
    """One page of a run of dirty pages is copied, and the bits of all are cleared."""
    s.when(s.phase.within(Phase.FILLING, Phase.FLUSHING), s.peer_dirty[page])
    s.guest[page] = s.cache[page]
    s.peer_dirty[:] = False


@controls.wrong(
    "commit while dirty",
    Step.COMMIT,
    must_fail=("checkpoint.commit has the primary's RAM",),
    shows=Shows(Kind.COMMIT),
    source="ours",
)
def _commit_while_dirty(s: World) -> None:
    """The guest goes on before the flush is through."""
    s.when(s.phase == Phase.FLUSHING)
    s.phase = Phase.IDLE
    s.guest_running = True
    s.survivor[:] = lambda q: s.guest[q]


# Failover.


@controls.wrong(
    "flush after failover",
    Step.FLUSH_PAGE,
    must_fail=("checkpoint.flush-page keeps isolation.guest", "checkpoint.flush-page owns cache, touch 1"),
    shows=Shows("isolation.guest"),
    source="ours",
)
def _flush_after_failover(s: World, page: Expr[Page]) -> None:
    """A flush goes on after failover, when the cache may be gone."""
    s.when(s.phase.within(Phase.FILLING, Phase.FLUSHING, Phase.FAILOVER), s.peer_dirty[page])
    s.guest[page] = s.cache[page]
    s.peer_dirty[page] = False


@controls.wrong(
    "take-over in a flush",
    Step.TAKE_OVER,
    must_fail=("failover.take-over keeps isolation.guest",),
    shows=Shows("isolation.guest"),
    source="ours: migration/colo.c:secondary_vm_do_failover without its relaunch",
)
def _take_over_while_flushing(s: World) -> None:
    """Failover does not wait for the end of a flush."""
    s.when(s.phase.within(Phase.IDLE, Phase.RECEIVING, Phase.RECEIVED, Phase.FLUSHING))
    s.phase = Phase.FAILOVER
    s.guest_running = True


# Start and release.


@controls.wrong(
    "cache allocated late",
    Step.START,
    must_fail=("phase.start keeps own.cache-lifetime",),
    shows=Shows(Kind.OWNERSHIP),
    source=f'before "{_RAM_CACHE}" (11.0): the cache came with the command ENABLE_COLO',
)
def _start_without_cache(s: World) -> None:
    """Receive threads run before there is a cache."""
    s.when(s.phase == Phase.SETUP)
    s.phase = Phase.PRECOPY
    s.receivedmap_allocated = True


@controls.wrong(
    "receivedmap allocated late",
    Step.START,
    must_fail=("phase.start keeps own.receivedmap-lifetime",),
    shows=Shows(Kind.OWNERSHIP),
    source="migration/ram.c:ram_load_setup may run after the first packet has come, if the source sends before its first SYNC",
)
def _start_without_receivedmap(s: World) -> None:
    """Receive threads run before there is a receivedmap."""
    s.when(s.phase == Phase.SETUP)
    s.phase = Phase.PRECOPY
    s.cache_allocated = s.colo


@controls.wrong(
    "cache released under threads",
    Step.RELEASE_CACHE,
    must_fail=("own.release-cache keeps own.cache-lifetime",),
    shows=Shows(Kind.OWNERSHIP),
    source=f'the series of January 2026, before "{_RAM_CACHE}" (11.0): a use after free at failover',
)
def _release_cache_under_threads(s: World) -> None:
    """The cache is freed in the bottom half, while receive threads may still run."""
    s.when(s.cache_allocated, s.phase.within(Phase.FAILOVER, Phase.STOPPED, Phase.FAILED))
    s.cache_allocated = False


@controls.wrong(
    "receivedmap released under threads",
    Step.RELEASE_RECEIVEDMAP,
    must_fail=("own.release-receivedmap keeps own.receivedmap-lifetime",),
    shows=Shows(Kind.OWNERSHIP, "plain"),
    source='before "migration/multifd: Fix rb->receivedmap cleanup race" (9.2)',
)
def _release_receivedmap_under_threads(s: World) -> None:
    """The receivedmap is freed while receive threads may still run, as before the fix of its cleanup race."""
    s.when(s.receivedmap_allocated, ~s.cache_allocated)
    s.when(s.phase.within(Phase.FAILOVER, Phase.STOPPED, Phase.COMPLETED, Phase.FAILED))
    s.receivedmap_allocated = False


@controls.wrong(
    "COLO without the capability",
    Step.ENTER_COLO,
    must_fail=("phase.enter-colo keeps phase.capability",),
    shows=Shows("phase.capability", "plain"),
    source='before "migration: block incoming colo when capability is disabled" (121ccedc2bf0, 8.1)',
)
def _enter_colo_uncapable(s: World) -> None:
    """The source can switch the destination to COLO, whatever that was set up for."""
    is_mirrored = (s.phase == Phase.PRECOPY) & ~s.deferred & all_sent(s) & is_settled(s)
    is_filled = (s.phase == Phase.FILLING) & every(Page)(lambda q: ~s.peer_dirty[q])
    s.when(is_mirrored | is_filled)
    s.phase = Phase.IDLE
    s.guest_running = True
    s.survivor[:] = lambda q: s.guest[q]


# Barriers.


@controls.wrong(
    "no barrier before COLO",
    Step.ENTER_COLO,
    must_fail=("phase.enter-colo keeps barrier.quiet-phases", "phase.enter-colo has the primary's RAM"),
    shows=Shows(Kind.COMMIT),
    source='ours, at "multifd: Only flush once each full round of memory" (294e5a4034e8, 8.1)',
)
def _enter_colo_without_barrier(s: World) -> None:
    """COLO begins as soon as everything was sent, whatever is still on its way."""
    is_mirrored = (s.phase == Phase.PRECOPY) & s.colo & ~s.deferred & all_sent(s)
    is_filled = (s.phase == Phase.FILLING) & every(Page)(lambda q: ~s.peer_dirty[q])
    s.when(is_mirrored | is_filled)
    s.phase = Phase.IDLE
    s.guest_running = True
    s.survivor[:] = lambda q: s.guest[q]


@controls.wrong(
    "no barrier before received",
    Step.CHECKPOINT_RECEIVED,
    must_fail=("checkpoint.received keeps receive.latched", "checkpoint.received keeps barrier.quiet-phases"),
    shows=Shows(Kind.COMMIT),
    source='ours, at "multifd: Only flush once each full round of memory" (294e5a4034e8, 8.1)',
)
def _received_without_barrier(s: World) -> None:
    """A checkpoint counts as received as soon as everything was sent."""
    s.when(s.phase == Phase.RECEIVING, all_sent(s))
    s.phase = Phase.RECEIVED


@controls.wrong(
    "barrier that waits for nobody",
    Step.RELEASE,
    must_fail=("barrier.release keeps barrier.carried-this-round",),
    shows=Shows("receive.clean-page-arrived", sizes=Sizes(2, 1, 2)),
    source='ours, at "multifd: Only flush once each full round of memory" (294e5a4034e8, 8.1): MULTIFD_FLUSH is ignored',
)
def _release_at_once(s: World) -> None:
    """A round ends while channels are still busy with it: what comes later may overtake what came before."""
    s.when(is_receiving(s))
    s.channel_at[:] = lambda c: where(s.channel_at[c] == At.PARKED, Literal(At.READY, At), s.channel_at[c])
    s.sent[:] = False


@controls.wrong(
    "pages of a SYNC packet dropped",
    Step.PARK,
    must_fail=("barrier.park keeps receive.clean-page-arrived",),
    shows=Shows("receive.clean-page-arrived"),
    source='"migration/multifd: Don\'t send ram data during SYNC" (9.2), which broke sources before 9.0 (gitlab 2720)',
)
def _park_and_drop(s: World, channel: Expr[Channel], page: Expr[Page]) -> None:
    """The page of a packet that has the flag SYNC is dropped."""
    s.when(is_multifd(channel), s.channel_at[channel] == At.READY, is_receiving(s))
    s.when(every(Page)(lambda q: (q == page) | (s.packet[channel, q] == Carried.NOTHING)))
    s.channel_at[channel] = At.PARKED
    s.packet[channel, page] = Carried.NOTHING


# The sender.


@controls.wrong(
    "page sent twice in a round",
    "send.normal-page",
    must_fail=("send.normal-page keeps receive.one-carrier", "send.normal-page keeps receive.landed-content"),
    shows=Shows("receive.clean-page-arrived", sizes=Sizes(2, 1, 2)),
    source="ours: what the receiver relies on (migration/multifd.c)",
)
def _send_again(s: World, channel: Expr[Channel], page: Expr[Page]) -> None:
    """A page that was dirtied again is sent again before the barrier, by any channel."""
    s.when(is_receiving(s), s.channel_at[channel] == At.READY, s.unsent[page])
    s.when((channel != MAIN) | carries_nothing(s, channel))
    s.unsent[page] = False
    s.sent[page] = True
    s.packet[channel, page] = Carried.NORMAL


@controls.wrong(
    "page of content sent as zero",
    "send.zero-page",
    must_fail=("send.zero-page keeps send.zero-flag-honest",),
    shows=Shows("receive.clean-page-arrived"),
    source='ours; offsets mistaken for those of zero pages were the bug of "Fix clearing of mapped-ram zero pages" (8fa1a21c6edc, 9.0)',
)
def _send_content_as_zero(s: World, channel: Expr[Channel], page: Expr[Page]) -> None:
    """A page is flagged as zero without being zero."""
    s.when(is_receiving(s), s.channel_at[channel] == At.READY, s.unsent[page], ~s.sent[page])
    s.when((channel != MAIN) | carries_nothing(s, channel))
    s.unsent[page] = False
    s.sent[page] = True
    s.packet[channel, page] = Carried.ZERO
