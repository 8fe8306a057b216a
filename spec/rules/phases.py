"""Phases: start, the end of precopy, checkpoints, failover, and who frees what when."""

from colofd.spec.constants import Step
from colofd.spec.language import Actor, Expr, RuleBook, every
from colofd.spec.state import At, Channel, Page, Phase, World, all_sent, is_settled

rules = RuleBook(World)


def _run_guest(s: World, phase: Phase) -> None:
    """The guest runs, from what it holds now: from here on that is what must survive."""
    s.phase = phase
    s.guest_running = True
    s.survivor[:] = lambda q: s.guest[q]


def _nothing_dirty(s: World) -> Expr[bool]:
    return every(Page)(lambda q: ~s.peer_dirty[q])


def _all_exited(s: World) -> Expr[bool]:
    return every(Channel)(lambda c: s.channel_at[c] == At.EXITED)


@rules.rule(
    Step.START,
    by=Actor.RECEIVER,
    source="migration/migration.c:process_incoming_migration_co",
    question="question.cache-alive",
)
def start(s: World) -> None:
    """The cache (with COLO) and the receivedmap exist before the first receive thread runs."""
    s.when(s.phase == Phase.SETUP)
    s.phase = Phase.PRECOPY
    s.cache_allocated = s.colo
    s.receivedmap_allocated = True


@rules.rule(Step.COMPLETE, by=Actor.RECEIVER, source="migration/migration.c:process_incoming_migration_bh")
def complete(s: World) -> None:
    """Without COLO: everything was sent and a barrier passed; the guest runs here."""
    s.when(s.phase == Phase.PRECOPY, ~s.colo, all_sent(s), is_settled(s))
    _run_guest(s, Phase.COMPLETED)


@rules.rule(Step.FILL_BEGIN, by=Actor.RECEIVER, source="colofd: the deferred mirror; QEMU mirrors each packet")
def fill_begin(s: World) -> None:
    """With the deferred mirror: everything was sent and a barrier passed; the guest is filled from the cache."""
    s.when(s.phase == Phase.PRECOPY, s.colo, s.deferred, all_sent(s), is_settled(s))
    s.phase = Phase.FILLING


@rules.rule(Step.ENTER_COLO, by=Actor.RECEIVER, source="migration/colo.c:colo_process_incoming_thread")
def enter_colo(s: World) -> None:
    """Guest and cache hold the primary's RAM: the secondary's guest starts."""
    is_mirrored = (s.phase == Phase.PRECOPY) & s.colo & ~s.deferred & all_sent(s) & is_settled(s)
    is_filled = (s.phase == Phase.FILLING) & _nothing_dirty(s)
    s.when(is_mirrored | is_filled)
    _run_guest(s, Phase.IDLE)


@rules.rule(Step.GIVE_UP, by=Actor.RECEIVER, source="migration/migration.c:process_incoming_migration_co, fail")
def give_up(s: World) -> None:
    """Precopy fails: nothing runs here."""
    s.when(s.phase.within(Phase.PRECOPY, Phase.FILLING))
    s.phase = Phase.FAILED


@rules.rule(Step.CHECKPOINT_BEGIN, by=Actor.RECEIVER, source="migration/colo.c:colo_wait_handle_message, CHECKPOINT_REQUEST")
def checkpoint_begin(s: World) -> None:
    """The primary asks for a checkpoint: it will stop its guest and send what that has dirtied."""
    s.when(s.phase == Phase.IDLE)
    s.phase = Phase.RECEIVING


@rules.rule(Step.CHECKPOINT_RECEIVED, by=Actor.RECEIVER, source="migration/colo.c:colo_incoming_process_checkpoint, VMSTATE_RECEIVED")
def checkpoint_received(s: World) -> None:
    """The whole checkpoint is here: everything was sent and a barrier passed since."""
    s.when(s.phase == Phase.RECEIVING, all_sent(s), is_settled(s))
    s.phase = Phase.RECEIVED


@rules.rule(Step.FLUSH_BEGIN, by=Actor.RECEIVER, source="migration/ram.c:colo_flush_ram_cache")
def flush_begin(s: World) -> None:
    """The point of no return: the guest is stopped and its own dirty log joins the dirty bitmap.

    QEMU stops the guest when the checkpoint is requested already; here it may run until now, which covers both.
    """
    s.when(s.phase == Phase.RECEIVED)
    s.phase = Phase.FLUSHING
    s.guest_running = False
    s.peer_dirty[:] = lambda q: s.peer_dirty[q] | s.own_dirty[q]
    s.own_dirty[:] = False


@rules.rule(Step.FLUSH_PAGE, by=Actor.RECEIVER, source="migration/ram.c:colo_flush_ram_cache")
def flush_page(s: World, page: Expr[Page]) -> None:
    """A dirty page is copied from the cache to the guest, in a flush or when the deferred mirror is filled."""
    s.when(s.phase.within(Phase.FILLING, Phase.FLUSHING), s.peer_dirty[page])
    s.guest[page] = s.cache[page]
    s.peer_dirty[page] = False


@rules.rule(Step.COMMIT, by=Actor.RECEIVER, source="migration/colo.c:colo_incoming_process_checkpoint, VMSTATE_LOADED")
def commit(s: World) -> None:
    """Nothing is dirty any more: the checkpoint is the guest's RAM, and both guests run again."""
    s.when(s.phase == Phase.FLUSHING, _nothing_dirty(s))
    _run_guest(s, Phase.IDLE)


@rules.rule(
    Step.TAKE_OVER,
    by=Actor.RECEIVER,
    source="migration/colo.c:secondary_vm_do_failover",
    question="question.threads-past-colo",
)
def take_over(s: World) -> None:
    """The primary is gone: the guest carries on as it is. A flush is finished first; a checkpoint half received is dropped."""
    s.when(s.phase.within(Phase.IDLE, Phase.RECEIVING, Phase.RECEIVED))
    s.phase = Phase.FAILOVER
    s.guest_running = True


@rules.rule(Step.STOP, by=Actor.RECEIVER, source="colofd: leaving COLO without failover; QEMU exits")
def stop(s: World) -> None:
    """COLO is left without taking over: the guest stops and keeps what it holds."""
    s.when(s.phase.within(Phase.IDLE, Phase.RECEIVING, Phase.RECEIVED))
    s.phase = Phase.STOPPED
    s.guest_running = False


@rules.rule(
    Step.RELEASE_CACHE,
    by=Actor.RECEIVER,
    source="migration/migration.c:migration_incoming_state_destroy, colo_release_ram_cache",
    question="question.cache-alive",
)
def release_cache(s: World) -> None:
    """The cache is freed once every receive thread has ended."""
    s.when(s.cache_allocated, s.phase.within(Phase.FAILOVER, Phase.STOPPED, Phase.FAILED), _all_exited(s))
    s.cache_allocated = False


@rules.rule(
    Step.RELEASE_RECEIVEDMAP,
    by=Actor.RECEIVER,
    source="migration/ram.c:ram_load_cleanup, after multifd_recv_cleanup",
    question="question.receivedmap-race",
)
def release_receivedmap(s: World) -> None:
    """The receivedmap is freed after the cache, once every receive thread has ended."""
    s.when(s.receivedmap_allocated, ~s.cache_allocated, _all_exited(s))
    s.when(s.phase.within(Phase.FAILOVER, Phase.STOPPED, Phase.COMPLETED, Phase.FAILED))
    s.receivedmap_allocated = False
