"""The clauses: together they hold at the start and are kept by every rule, for any number of pages and channels."""

from colofd.spec.language import ClauseBook, Expr, every, some, where
from colofd.spec.state import (
    MAIN,
    ZERO,
    At,
    Carried,
    Channel,
    Page,
    Phase,
    World,
    carries_nothing,
    is_flying,
    is_in_colo,
    is_live,
    landed_at,
    receive_buffer,
)

clauses = ClauseBook(World)

_OURS = "colofd: found from counter-examples to induction"
_LANDED = (Carried.NORMAL_LANDED, Carried.ZERO_LANDED)


initial_states = ClauseBook(World)


@initial_states.clause("initial", source="migration/migration.c:migration_object_init; fresh anonymous memory is zero")
def initial(s: World) -> Expr[bool]:
    """Nothing runs, nothing has arrived, everything must be sent. The receive buffer is fresh zeros; with COLO the guest is anything."""
    is_fresh = every(Page)(lambda p: s.unsent[p] & ~s.sent[p] & ~s.received[p] & ~s.peer_dirty[p] & ~s.own_dirty[p])
    is_zero = every(Page)(lambda p: receive_buffer(s, p) == ZERO)
    is_quiet = every(Channel)(lambda c: (s.channel_at[c] == At.READY) & ~s.mirror[c] & carries_nothing(s, c))
    return (s.phase == Phase.SETUP) & ~s.cache_allocated & ~s.receivedmap_allocated & ~s.guest_running & is_fresh & is_zero & is_quiet


# What is claimed.


@clauses.clause("isolation.guest", source="all or nothing: the thread of the series (Peter Xu), 2026-01-21; docs/system/qemu-colo.rst")
def guest_is_isolated(s: World) -> Expr[bool]:
    """Isolation: in COLO, after failover and after the end, the guest is the last commit plus its own writes, and nothing else."""
    phases = (Phase.IDLE, Phase.RECEIVING, Phase.RECEIVED, Phase.FAILOVER, Phase.STOPPED, Phase.COMPLETED)
    return every(Page)(lambda p: s.phase.within(*phases) >> (s.guest[p] == s.survivor[p]))


@clauses.clause("own.cache-lifetime", source="migration/migration.c:migration_incoming_state_destroy")
def cache_lifetime(s: World) -> Expr[bool]:
    """The cache exists while the destination receives, and until the last receive thread has ended; without COLO never."""
    while_live = is_live(s) >> s.cache_allocated
    until_exit = every(Channel)(lambda c: (s.phase != Phase.SETUP) >> (s.cache_allocated | (s.channel_at[c] == At.EXITED)))
    return where(s.colo, while_live & until_exit, ~s.cache_allocated)


@clauses.clause("own.receivedmap-lifetime", source="migration/ram.c:ram_load_cleanup; Fix rb->receivedmap cleanup race")
def receivedmap_lifetime(s: World) -> Expr[bool]:
    """The receivedmap exists while the destination receives, until the last receive thread has ended, and longer than the cache."""
    while_live = is_live(s) >> s.receivedmap_allocated
    until_exit = every(Channel)(lambda c: (s.phase != Phase.SETUP) >> (s.receivedmap_allocated | (s.channel_at[c] == At.EXITED)))
    return while_live & until_exit & (s.cache_allocated >> s.receivedmap_allocated)


@clauses.clause("receive.clean-page-arrived", source="migration/ram.c:ram_load_precopy, multifd.c:multifd_ram_state_recv")
def clean_page_arrived(s: World) -> Expr[bool]:
    """A page that need not be sent, and that nobody carries, is in the receive buffer as the primary has it."""
    arrived = every(Page)(lambda p: (~s.unsent[p] & ~is_flying(s, p)) >> (s.received[p] & (receive_buffer(s, p) == s.primary[p])))
    return is_live(s) >> arrived


@clauses.clause("receive.untouched-buffer-zero", source="migration/multifd-zero-page.c, commit 5ef7e26bdb")
def untouched_buffer_zero(s: World) -> Expr[bool]:
    """A page that has never arrived is still zero in the receive buffer, so its first zero page needs no write."""
    holds = s.colo | s.phase.within(Phase.SETUP, Phase.PRECOPY, Phase.FAILED)
    return every(Page)(lambda p: (holds & ~s.received[p]) >> (receive_buffer(s, p) == ZERO))


@clauses.clause("mirror.precopy", source="migration/multifd-colo.c:multifd_colo_process_recv; ram.c:ram_load_precopy")
def mirrored_in_precopy(s: World) -> Expr[bool]:
    """In precopy, a page that has arrived and that nobody carries is the same in guest and cache (deferred: is recorded for the fill)."""
    arrived = every(Page)(lambda p: (s.received[p] & ~is_flying(s, p)) >> where(s.deferred, s.peer_dirty[p], s.guest[p] == s.cache[p]))
    return ((s.phase == Phase.PRECOPY) & s.colo) >> arrived


@clauses.clause("mirror.dirty-covers", source="migration/ram.c:colo_flush_ram_cache")
def dirty_covers(s: World) -> Expr[bool]:
    """A page without a dirty bit of either side is the same in guest and cache."""
    covered = every(Page)(lambda p: (~s.peer_dirty[p] & ~s.own_dirty[p]) >> (s.guest[p] == s.cache[p]))
    return (is_in_colo(s) | (s.phase == Phase.FILLING)) >> covered


@clauses.clause("mirror.clean-precopy", source="migration/multifd-colo.c:multifd_colo_prepare_recv; ram.c:colo_record_bitmap")
def nothing_recorded_in_precopy(s: World) -> Expr[bool]:
    """Before COLO nothing is recorded dirty, unless the mirror is deferred: what is mirrored need not be flushed."""
    before = s.phase.within(Phase.SETUP, Phase.PRECOPY) & ~(s.colo & s.deferred)
    return every(Page)(lambda p: before >> ~s.peer_dirty[p])


# What carries the proof.


@clauses.clause("receive.latched", source=_OURS)
def latched(s: World) -> Expr[bool]:
    """A packet prepared in precopy is mirrored, one prepared in COLO is not, and no phase in between changes that."""

    def fits(c: Expr[Channel]) -> Expr[bool]:
        in_precopy = s.phase.within(Phase.PRECOPY, Phase.FAILED) & (s.mirror[c] == (s.colo & ~s.deferred))
        in_colo = s.phase.within(Phase.RECEIVING, Phase.FAILOVER, Phase.STOPPED) & ~s.mirror[c]
        return in_precopy | in_colo

    return every(Channel)(lambda c: s.channel_at[c].within(At.BODY, At.PROCESSING) >> fits(c))


@clauses.clause("receive.recorded", source="migration/multifd-colo.c:multifd_colo_prepare_recv; review of v2: zero pages too")
def recorded(s: World) -> Expr[bool]:
    """Every page of a prepared packet is recorded dirty in COLO, and in precopy if the mirror is deferred."""
    is_recorded = (s.phase == Phase.RECEIVING) | (s.phase == Phase.PRECOPY) & s.colo & s.deferred
    return every(Channel, Page)(
        lambda c, p: (is_recorded & s.channel_at[c].within(At.BODY, At.PROCESSING) & (s.packet[c, p] != Carried.NOTHING)) >> s.peer_dirty[p]
    )


@clauses.clause("receive.one-carrier", source="migration/multifd.c: a page is sent once between two barriers")
def one_carrier(s: World) -> Expr[bool]:
    """A page is carried by at most one channel."""
    return every(Channel, Channel, Page)(
        lambda c, d, p: ((s.packet[c, p] != Carried.NOTHING) & (s.packet[d, p] != Carried.NOTHING)) >> (c == d)
    )


@clauses.clause("main.one-page", source="migration/ram.c:ram_load_precopy")
def main_one_page(s: World) -> Expr[bool]:
    """The main channel carries at most one page, and never parks."""
    one = every(Page, Page)(lambda p, q: ((s.packet[MAIN, p] != Carried.NOTHING) & (s.packet[MAIN, q] != Carried.NOTHING)) >> (p == q))
    return one & (s.channel_at[MAIN] != At.PARKED)


@clauses.clause("main.page-at-hand", source="migration/ram.c:ram_load_precopy")
def main_page_at_hand(s: World) -> Expr[bool]:
    """In a record, the main channel has the page that it reads, or that it mirrors."""
    to_land = some(Page)(lambda p: s.packet[MAIN, p].within(Carried.NORMAL, Carried.ZERO))
    landed = some(Page)(lambda p: s.packet[MAIN, p].within(*_LANDED))
    return ((s.channel_at[MAIN] == At.BODY) >> to_land) & ((s.channel_at[MAIN] == At.PROCESSING) >> landed)


@clauses.clause("barrier.carried-this-round", source=_OURS)
def carried_this_round(s: World) -> Expr[bool]:
    """What a channel carries was sent in this round, and a parked channel carries nothing."""
    return every(Channel, Page)(lambda c, p: (s.packet[c, p] != Carried.NOTHING) >> (s.sent[p] & (s.channel_at[c] != At.PARKED)))


@clauses.clause("barrier.quiet-phases", source=_OURS)
def quiet_phases(s: World) -> Expr[bool]:
    """Outside of precopy, a checkpoint's pages and an end, no channel carries anything."""
    quiet = s.phase.within(Phase.SETUP, Phase.FILLING, Phase.IDLE, Phase.RECEIVED, Phase.FLUSHING, Phase.COMPLETED)
    return every(Channel)(lambda c: quiet >> (carries_nothing(s, c) & s.channel_at[c].within(At.READY, At.EXITED)))


@clauses.clause("receive.landed-where", source=_OURS)
def landed_where(s: World) -> Expr[bool]:
    """A landed page has arrived and is in a packet whose thread is past its header; while pages are mirrored, all have landed."""
    landed = every(Channel, Page)(
        lambda c, p: s.packet[c, p].within(*_LANDED) >> (s.received[p] & s.channel_at[c].within(At.BODY, At.PROCESSING, At.EXITED))
    )
    processing = every(Channel, Page)(lambda c, p: (s.channel_at[c] == At.PROCESSING) >> s.packet[c, p].within(Carried.NOTHING, *_LANDED))
    return landed & processing


@clauses.clause("receive.landed-content", source=_OURS)
def landed_content(s: World) -> Expr[bool]:
    """A landed page holds what the primary has, unless it must be sent again; a landed zero page holds zeros."""
    normal = every(Channel, Page)(
        lambda c, p: (
            (is_live(s) & (s.packet[c, p] == Carried.NORMAL_LANDED) & ~s.unsent[p] & (s.channel_at[c] != At.EXITED))
            >> (landed_at(s, c, p) == s.primary[p])
        )
    )
    zero = every(Channel, Page)(
        lambda c, p: ((s.packet[c, p] == Carried.ZERO_LANDED) & (s.channel_at[c] != At.EXITED)) >> (landed_at(s, c, p) == ZERO)
    )
    return normal & zero


@clauses.clause("send.zero-flag-honest", source="migration/multifd-zero-page.c:multifd_send_zero_page_detect")
def zero_flag_honest(s: World) -> Expr[bool]:
    """A page carried as zero is zero at the primary, unless it must be sent again."""
    return every(Channel, Page)(
        lambda c, p: (is_live(s) & s.packet[c, p].within(Carried.ZERO, Carried.ZERO_LANDED) & ~s.unsent[p]) >> (s.primary[p] == ZERO)
    )


@clauses.clause("phase.setup", source=_OURS)
def nothing_before_start(s: World) -> Expr[bool]:
    """Before the start everything must be sent, nothing has arrived, and no thread has done anything."""
    nothing_came = every(Page)(lambda p: (s.phase == Phase.SETUP) >> (s.unsent[p] & ~s.received[p]))
    return nothing_came & every(Channel)(lambda c: (s.phase == Phase.SETUP) >> (s.channel_at[c] == At.READY))


@clauses.clause("phase.all-sent", source=_OURS)
def all_was_sent(s: World) -> Expr[bool]:
    """From the last barrier of a checkpoint, or of precopy, the primary's RAM is known completely."""
    known = s.phase.within(Phase.FILLING, Phase.RECEIVED, Phase.FLUSHING)
    return every(Page)(lambda p: known >> ~s.unsent[p])


@clauses.clause("phase.guest-runs", source="migration/colo.c:colo_process_incoming_thread")
def guest_runs_when(s: World) -> Expr[bool]:
    """The secondary's guest runs in COLO outside of a flush, after failover, and after the end; nowhere else."""
    return s.guest_running == s.phase.within(Phase.IDLE, Phase.RECEIVING, Phase.RECEIVED, Phase.FAILOVER, Phase.COMPLETED)


@clauses.clause("phase.own-dirty", source="migration/ram.c:colo_incoming_start_dirty_log")
def own_dirty_when(s: World) -> Expr[bool]:
    """The secondary's dirty log is empty before its guest first runs, and while a flush is going on."""
    stopped = s.phase.within(Phase.SETUP, Phase.PRECOPY, Phase.FILLING, Phase.FLUSHING)
    return every(Page)(lambda p: stopped >> ~s.own_dirty[p])


@clauses.clause("phase.capability", source="migration/options.c: x-colo")
def capability(s: World) -> Expr[bool]:
    """COLO phases need the capability; filling needs the deferred mirror; completion is without COLO."""
    colo_phase = is_in_colo(s) | s.phase.within(Phase.FILLING, Phase.FAILOVER, Phase.STOPPED)
    return (colo_phase >> s.colo) & ((s.phase == Phase.FILLING) >> s.deferred) & ((s.phase == Phase.COMPLETED) >> ~s.colo)
