"""What both sides reach together, without faults: the end of precopy, and a checkpoint from its request to its commit."""

from typing import Final

from colofd.spec.both_sides import BOTH_SIDES, BothSides, Message, PrimaryAt
from colofd.spec.constants import Step
from colofd.spec.language import Expr, Progress, ProgressBook, some
from colofd.spec.progress.terms import (
    CHANNEL_EXITS,
    EMPTY_PACKET,
    GIVEN_UP,
    INCOMING,
    MAIN_STEPS,
    MESSAGE_LOST,
    NOTHING_MORE,
    PEER_FAULTS,
    ROUND_STEPS,
    STOPPED,
    TAKEN_OVER,
    TRANSACTION,
    all_receive,
    is_over,
    round_parts,
)
from colofd.spec.state import (
    MAIN,
    At,
    Carried,
    Page,
    Phase,
    all_sent,
)

progress = ProgressBook(BOTH_SIDES, BothSides)

# A checkpoint.


def _checkpoint(s: BothSides, phase: Phase, *primary_at: PrimaryAt) -> Expr[bool]:
    return (s.phase == phase) & s.primary_at.within(*primary_at) & all_receive(s)


def _is_sent(s: BothSides, phase: Expr[Phase] | Phase) -> Expr[bool]:
    """The primary is stopped, and all its pages are sent."""
    return (s.phase == phase) & (s.primary_at == PrimaryAt.SENT) & all_receive(s) & all_sent(s)


_UNDISTURBED: Final = (*PEER_FAULTS, TAKEN_OVER, STOPPED)


@progress.measure(
    "checkpoint.is-asked-for",
    source=TRANSACTION,
    helpful=("colo.request", Step.CHECKPOINT_BEGIN, "colo.stop-primary"),
    excused=[*_UNDISTURBED, CHANNEL_EXITS, MESSAGE_LOST],
)
def checkpoint_is_asked_for(s: BothSides) -> Progress:
    """A primary that runs asks for a checkpoint, the secondary replies, and the primary is stopped."""
    asked = s.in_flight[Message.CHECKPOINT_REQUEST]
    running = _checkpoint(s, Phase.IDLE, PrimaryAt.RUNNING)
    requested = _checkpoint(s, Phase.IDLE, PrimaryAt.REQUESTED) & asked
    replied = _checkpoint(s, Phase.RECEIVING, PrimaryAt.REQUESTED) & s.in_flight[Message.CHECKPOINT_REPLY]
    return Progress(
        running | requested | replied,
        _checkpoint(s, Phase.RECEIVING, PrimaryAt.SENDING),
        (s.primary_at == PrimaryAt.RUNNING, s.phase == Phase.IDLE),
    )


@progress.measure(
    "checkpoint.is-sent",
    source="migration/ram.c:ram_save_complete",
    helpful=("send.normal-page", *MAIN_STEPS, "colo.checkpoint-sent"),
    excused=[*_UNDISTURBED, CHANNEL_EXITS],
)
def checkpoint_is_sent(s: BothSides) -> Progress:
    """A stopped primary sends all that is dirty: there is always a channel to send it by, the main one if no other."""

    def main(p: Expr[Page], *at: At) -> Expr[bool]:
        return s.unsent[p] | s.channel_at[MAIN].within(*at) & (s.packet[MAIN, p] != Carried.NOTHING)

    return Progress(
        _checkpoint(s, Phase.RECEIVING, PrimaryAt.SENDING),
        _is_sent(s, Phase.RECEIVING),
        (
            some(Page)(lambda p: s.unsent[p]),
            some(Page)(lambda p: main(p, At.READY)),
            some(Page)(lambda p: main(p, At.READY, At.BODY)),
            some(Page)(lambda p: main(p, At.READY, At.BODY, At.PROCESSING)),
        ),
    )


@progress.measure(
    "barrier.ends-last-round",
    source="migration/ram.c:ram_save_complete, multifd_ram_flush_and_sync",
    helpful=ROUND_STEPS,
    excused=[*_UNDISTURBED, CHANNEL_EXITS, GIVEN_UP, EMPTY_PACKET],
)
def last_round_ends(s: BothSides, phase: Expr[Phase]) -> Progress:
    """When the primary is stopped and everything is sent, in precopy or for a checkpoint, the last round ends."""
    sent = _is_sent(s, phase)
    return Progress(sent & phase.within(Phase.PRECOPY, Phase.RECEIVING), sent & is_over(s), round_parts(s))


@progress.measure(
    "checkpoint.is-received",
    source=INCOMING,
    helpful=(Step.CHECKPOINT_RECEIVED,),
    excused=[*_UNDISTURBED, CHANNEL_EXITS, *NOTHING_MORE],
)
def checkpoint_is_received(s: BothSides) -> Progress:
    """When the last round has ended, the checkpoint is received."""
    sent = _is_sent(s, Phase.RECEIVING) & is_over(s)
    return Progress(sent, (s.phase == Phase.RECEIVED) & (s.primary_at == PrimaryAt.SENT) & ~s.is_promised)


def _is_told(s: BothSides) -> Expr[bool]:
    """VMSTATE_RECEIVED is on its way to the primary, or was read there."""
    return (s.primary_at == PrimaryAt.SENT) & s.in_flight[Message.VMSTATE_RECEIVED] | (s.primary_at == PrimaryAt.RELEASED)


@progress.measure("checkpoint.is-answered", source=INCOMING, helpful=(Step.ANSWER,), excused=[*_UNDISTURBED])
def checkpoint_is_answered(s: BothSides) -> Progress:
    """A checkpoint that was received, and whose device state can be loaded, is answered."""
    received = (s.phase == Phase.RECEIVED) & (s.primary_at == PrimaryAt.SENT)
    return Progress(received & ~s.is_promised & s.is_loadable[s.arriving_device], received & s.is_promised & _is_told(s))


@progress.measure("checkpoint.is-flushed", source=INCOMING, helpful=(Step.FLUSH_BEGIN,), excused=[*PEER_FAULTS, MESSAGE_LOST])
def checkpoint_is_flushed(s: BothSides) -> Progress:
    """A checkpoint that was answered is flushed, and the primary is told."""
    return Progress((s.phase == Phase.RECEIVED) & s.is_promised & _is_told(s), (s.phase == Phase.FLUSHING) & _is_told(s))


@progress.measure(
    "checkpoint.is-committed",
    source=TRANSACTION,
    helpful=(Step.FLUSH_PAGE, Step.COMMIT, "colo.release-output", "colo.resume"),
    excused=[*_UNDISTURBED, MESSAGE_LOST],
)
def checkpoint_is_committed(s: BothSides) -> Progress:
    """The flush ends with the commit, the primary lets its output go when it is told, and resumes when it is told of the commit."""
    flushing = s.phase == Phase.FLUSHING
    committed = (s.phase == Phase.IDLE) & s.in_flight[Message.VMSTATE_LOADED]
    return Progress(
        (flushing | committed) & _is_told(s),
        (s.phase == Phase.IDLE) & (s.primary_at == PrimaryAt.RUNNING) & s.has_committed,
        (some(Page)(lambda p: flushing & s.peer_dirty[p]), flushing, s.primary_at == PrimaryAt.SENT),
    )


@progress.chain(
    "checkpoint.completes",
    source=f"{TRANSACTION}; {INCOMING}",
    links=[
        "checkpoint.is-asked-for",
        "checkpoint.is-sent",
        ("barrier.ends-last-round", {"phase": Phase.RECEIVING}),
        "checkpoint.is-received",
        "checkpoint.is-answered",
        "checkpoint.is-flushed",
        "checkpoint.is-committed",
    ],
)
def checkpoint_completes(s: BothSides) -> tuple[Expr[bool], Expr[bool]]:
    """A checkpoint ends with its commit and a primary that runs again; or with a device state that cannot be loaded."""
    committed = (s.phase == Phase.IDLE) & (s.primary_at == PrimaryAt.RUNNING) & s.has_committed
    cannot_load = (s.phase == Phase.RECEIVED) & ~s.is_promised & ~s.is_loadable[s.arriving_device]
    return _checkpoint(s, Phase.IDLE, PrimaryAt.RUNNING), committed | cannot_load


# The end of precopy.


def _is_ready(s: BothSides) -> Expr[bool]:
    """COLO begins at the secondary, and CHECKPOINT_READY is on its way."""
    return (s.phase == Phase.IDLE) & (s.primary_at == PrimaryAt.SENT) & s.in_flight[Message.CHECKPOINT_READY]


@progress.measure(
    "fill.ends",
    source="colofd: the deferred mirror",
    helpful=(Step.FLUSH_PAGE, Step.ENTER_COLO),
    excused=[GIVEN_UP, *PEER_FAULTS],
)
def fill_ends(s: BothSides) -> Progress:
    """The fill of a deferred mirror ends with the first commit, whatever happens to the channels."""
    during = (s.phase == Phase.FILLING) & (s.primary_at == PrimaryAt.SENT)
    return Progress(during, _is_ready(s), (some(Page)(lambda p: s.peer_dirty[p]),))


@progress.measure(
    "precopy.closes",
    source="migration/migration.c:process_incoming_migration_bh; migration/colo.c:colo_process_incoming_thread",
    helpful=(Step.COMPLETE, Step.FILL_BEGIN, Step.ENTER_COLO),
    excused=[GIVEN_UP, *PEER_FAULTS, CHANNEL_EXITS, *NOTHING_MORE],
)
def precopy_closes(s: BothSides) -> Progress:
    """After the last round precopy ends: with the guest here, with COLO, or first with the fill of the deferred mirror."""
    filling = (s.phase == Phase.FILLING) & (s.primary_at == PrimaryAt.SENT)
    sent = _is_sent(s, Phase.PRECOPY) & is_over(s)
    return Progress(sent, filling | _is_ready(s) | (s.phase == Phase.COMPLETED))


@progress.measure(
    "colo.starts", source="migration/colo.c:colo_process_checkpoint", helpful=("colo.start",), excused=[*_UNDISTURBED, MESSAGE_LOST]
)
def colo_starts(s: BothSides) -> Progress:
    """When CHECKPOINT_READY is read, the primary runs in COLO."""
    return Progress(_is_ready(s), (s.phase == Phase.IDLE) & (s.primary_at == PrimaryAt.RUNNING))


@progress.chain(
    "precopy.completes",
    source="migration/migration.c:migration_completion",
    links=[("barrier.ends-last-round", {"phase": Phase.PRECOPY}), "precopy.closes", "fill.ends", "colo.starts"],
)
def precopy_completes(s: BothSides) -> tuple[Expr[bool], Expr[bool]]:
    """Once the primary has sent everything, precopy ends with the guest here, or with COLO. That it comes so far depends on its guest."""
    return _is_sent(s, Phase.PRECOPY), (s.phase == Phase.COMPLETED) | (s.phase == Phase.IDLE) & (s.primary_at == PrimaryAt.RUNNING)
