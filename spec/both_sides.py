"""COLO with both sides: the messages of a checkpoint, the device state, and when the primary may let its output go.

A layer over the receive path. Four words, in the order in which a checkpoint goes through them:

- *received*: all of it is at the secondary, none of it in the guest (`checkpoint.received`);
- *restorable*: whatever dies from here on, the secondary will go on from this checkpoint or a later one (`checkpoint.answer`);
- *committed*: RAM and device state of the guest are those of the checkpoint (`checkpoint.commit`);
- *released*: the primary has let the output of the interval before the checkpoint go (`colo.release-output`).

QEMU answers VMSTATE_RECEIVED as soon as a checkpoint is received, and its primary releases then; a failover before the flush, or a
device state that does not load after it, loses what the world has already seen. Here the device state is validated before the answer,
and from the answer on a failover waits for the commit, which cannot fail.
"""

from enum import Enum, auto
from typing import Final

from colofd.spec.constants import Step
from colofd.spec.language import Actor, ClauseBook, Expr, Index, Layer, Map, Scalar, every
from colofd.spec.receive_path import SPEC
from colofd.spec.state import Page, Phase, World, all_sent

_COLO_C: Final = "migration/colo.c"
_TRANSACTION: Final = f"{_COLO_C}:colo_do_checkpoint_transaction"
_INCOMING: Final = f"{_COLO_C}:colo_incoming_process_checkpoint"


class DeviceState(Index):
    """The state of all devices together, as one opaque value."""


class PrimaryAt(Enum):
    """Where the primary is."""

    PRECOPY = auto()
    RUNNING = auto()
    """COLO: its guest runs, its output is held back."""
    REQUESTED = auto()
    """A checkpoint was requested; its guest still runs."""
    SENDING = auto()
    """Its guest is stopped, pages are on their way."""
    SENT = auto()
    """Everything was sent, device state too; its guest is stopped."""
    RELEASED = auto()
    """VMSTATE_RECEIVED was read, and the output let go; its guest is still stopped."""
    ALONE = auto()
    """It has done its own failover and goes on without a secondary."""
    DEAD = auto()


class Message(Enum):
    """The COLO messages between checkpoints. VMSTATE_SEND and VMSTATE_SIZE go with what they announce."""

    CHECKPOINT_READY = auto()
    CHECKPOINT_REQUEST = auto()
    CHECKPOINT_REPLY = auto()
    VMSTATE_RECEIVED = auto()
    VMSTATE_LOADED = auto()


class BothSides(World):
    """The cells that the layer adds."""

    primary_at = Scalar(PrimaryAt, "Where the primary is.")
    in_flight = Map(Message, bool, "A message was sent and has not been read.")
    is_promised = Scalar(bool, "The checkpoint at hand was answered with VMSTATE_RECEIVED, and is not committed yet.")
    primary_device = Scalar(DeviceState, "Device state of the primary.")
    arriving_device = Scalar(DeviceState, "The buffer of the secondary for a device state.")
    guest_device = Scalar(DeviceState, "Device state of the secondary's guest.")
    is_loadable = Map(DeviceState, bool, "The secondary can load this device state; never changes.")
    survivor_device = Scalar(
        DeviceState, "Ghost: device state of the last commit, and what the secondary's guest has made of it.", is_ghost=True
    )
    has_committed = Scalar(bool, "Ghost: the last checkpoint that began was committed.", is_ghost=True)
    is_ahead = Scalar(bool, "Ghost: output was released whose checkpoint is not committed yet.", is_ghost=True)


_STOPPED = (PrimaryAt.SENT, PrimaryAt.RELEASED, PrimaryAt.ALONE, PrimaryAt.DEAD)
_RUNS = (PrimaryAt.PRECOPY, PrimaryAt.RUNNING, PrimaryAt.REQUESTED)

layer = Layer(SPEC, BothSides)


def _exchange(s: BothSides, *, taken: Expr[Message] | Message | None = None, sent: Message | None = None) -> None:
    """Read one message, and send another."""

    def after(message: Expr[Message]) -> Expr[bool]:
        left = s.in_flight[message] if taken is None else s.in_flight[message] & (message != taken)
        return left if sent is None else left | (message == sent)

    s.in_flight[:] = after


def _start_guest(s: BothSides, device: Expr[DeviceState]) -> None:
    """The guest goes on from this device state."""
    s.guest_device = device
    s.survivor_device = device


# The primary.


@layer.extends("guest.primary-write", source=_TRANSACTION)
def primary_write(s: BothSides) -> None:
    """It runs until it is stopped for a checkpoint."""
    s.when(s.primary_at.within(*_RUNS))


@layer.extends("send.normal-page", source=_TRANSACTION)
def send_normal_page(s: BothSides) -> None:
    """Pages leave in precopy, and while the guest is stopped for a checkpoint."""
    s.when(s.primary_at.within(PrimaryAt.PRECOPY, PrimaryAt.SENDING))


@layer.extends("send.zero-page", source=_TRANSACTION)
def send_zero_page(s: BothSides) -> None:
    """As pages with content."""
    s.when(s.primary_at.within(PrimaryAt.PRECOPY, PrimaryAt.SENDING))


@layer.rule("guest.primary-device", by=Actor.PRIMARY, source="migration/savevm.c:qemu_save_device_state")
def primary_device(s: BothSides, device: Expr[DeviceState]) -> None:
    """The running primary's devices change."""
    s.when(s.primary_at.within(*_RUNS))
    s.primary_device = device


@layer.rule("colo.precopy-sent", by=Actor.PRIMARY, source="migration/migration.c:migration_completion_precopy")
def precopy_sent(s: BothSides) -> None:
    """Precopy is complete: the primary's guest is stopped, everything was sent."""
    s.when(s.primary_at == PrimaryAt.PRECOPY, all_sent(s))
    s.primary_at = PrimaryAt.SENT


@layer.rule("colo.start", by=Actor.PRIMARY, source=f"{_COLO_C}:colo_process_checkpoint")
def start(s: BothSides) -> None:
    """CHECKPOINT_READY was read: the primary's guest runs, its output is held back."""
    s.when(s.primary_at == PrimaryAt.SENT, s.in_flight[Message.CHECKPOINT_READY])
    s.primary_at = PrimaryAt.RUNNING
    _exchange(s, taken=Message.CHECKPOINT_READY)


@layer.rule("colo.request", by=Actor.PRIMARY, source=_TRANSACTION)
def request(s: BothSides) -> None:
    """A checkpoint is requested: outputs differ, or the time is up."""
    s.when(s.primary_at == PrimaryAt.RUNNING)
    s.primary_at = PrimaryAt.REQUESTED
    _exchange(s, sent=Message.CHECKPOINT_REQUEST)


@layer.rule("colo.stop-primary", by=Actor.PRIMARY, source=_TRANSACTION)
def stop_primary(s: BothSides) -> None:
    """CHECKPOINT_REPLY was read: the primary's guest is stopped, and sent."""
    s.when(s.primary_at == PrimaryAt.REQUESTED, s.in_flight[Message.CHECKPOINT_REPLY])
    s.primary_at = PrimaryAt.SENDING
    _exchange(s, taken=Message.CHECKPOINT_REPLY)


@layer.rule("colo.checkpoint-sent", by=Actor.PRIMARY, source=_TRANSACTION)
def checkpoint_sent(s: BothSides) -> None:
    """All pages and the device state were sent."""
    s.when(s.primary_at == PrimaryAt.SENDING, all_sent(s))
    s.primary_at = PrimaryAt.SENT


@layer.rule("colo.release-output", by=Actor.PRIMARY, source=f"{_TRANSACTION}; net/colo-compare.c:colo_notify_compares_event")
def release_output(s: BothSides) -> None:
    """VMSTATE_RECEIVED was read: the output of the interval before the checkpoint goes out."""
    s.when(s.primary_at == PrimaryAt.SENT, s.in_flight[Message.VMSTATE_RECEIVED])
    s.primary_at = PrimaryAt.RELEASED
    _exchange(s, taken=Message.VMSTATE_RECEIVED)
    s.is_ahead = ~s.has_committed


@layer.rule("colo.resume", by=Actor.PRIMARY, source=_TRANSACTION)
def resume(s: BothSides) -> None:
    """VMSTATE_LOADED was read: the primary's guest runs again."""
    s.when(s.primary_at == PrimaryAt.RELEASED, s.in_flight[Message.VMSTATE_LOADED])
    s.primary_at = PrimaryAt.RUNNING
    _exchange(s, taken=Message.VMSTATE_LOADED)


@layer.rule("failover.primary", by=Actor.PRIMARY, source=f"{_COLO_C}:primary_vm_do_failover")
def primary_failover(s: BothSides) -> None:
    """The secondary is lost, at any step: the primary goes on alone."""
    s.when(s.primary_at.within(PrimaryAt.RUNNING, PrimaryAt.REQUESTED, PrimaryAt.SENDING, PrimaryAt.SENT, PrimaryAt.RELEASED))
    s.primary_at = PrimaryAt.ALONE


@layer.rule("fault.primary-dies", by=Actor.ENVIRONMENT, source="a crash or a power cut")
def primary_dies(s: BothSides) -> None:
    """The primary dies, at any step."""
    s.primary_at = PrimaryAt.DEAD


@layer.rule("fault.message-lost", by=Actor.ENVIRONMENT, source="a connection that is cut")
def message_lost(s: BothSides, message: Expr[Message]) -> None:
    """A message never arrives."""
    _exchange(s, taken=message)


# The secondary.


@layer.rule("guest.secondary-device", by=Actor.GUEST, source="colofd: the guest runs")
def secondary_device(s: BothSides, device: Expr[DeviceState]) -> None:
    """The devices of the secondary's running guest change."""
    s.when(s.guest_running)
    _start_guest(s, device)


@layer.extends(Step.COMPLETE, source="migration/migration.c:process_incoming_migration_bh")
def complete(s: BothSides) -> None:
    """The guest goes on from the primary's device state."""
    s.when(s.primary_at == PrimaryAt.SENT)
    _start_guest(s, s.primary_device)


@layer.extends(Step.FILL_BEGIN, source="colofd: the deferred mirror")
def fill_begin(s: BothSides) -> None:
    """The end of precopy, as without the deferred mirror."""
    s.when(s.primary_at == PrimaryAt.SENT)


@layer.extends(Step.ENTER_COLO, source=f"{_COLO_C}:colo_process_incoming_thread")
def enter_colo(s: BothSides) -> None:
    """The end of precopy is the first commit, with its device state; CHECKPOINT_READY is sent."""
    s.when(s.primary_at == PrimaryAt.SENT)
    _start_guest(s, s.primary_device)
    s.has_committed = True
    _exchange(s, sent=Message.CHECKPOINT_READY)


@layer.extends(Step.CHECKPOINT_BEGIN, source=f"{_COLO_C}:colo_wait_handle_message")
def checkpoint_begin(s: BothSides) -> None:
    """CHECKPOINT_REQUEST is read, and answered with CHECKPOINT_REPLY."""
    s.when(s.in_flight[Message.CHECKPOINT_REQUEST])
    s.has_committed = False
    _exchange(s, taken=Message.CHECKPOINT_REQUEST, sent=Message.CHECKPOINT_REPLY)


@layer.extends(Step.CHECKPOINT_RECEIVED, source=_INCOMING)
def checkpoint_received(s: BothSides) -> None:
    """The device state is in its buffer."""
    s.when(s.primary_at == PrimaryAt.SENT)
    s.arriving_device = s.primary_device


@layer.rule(Step.ANSWER, by=Actor.RECEIVER, source=f"{_INCOMING}; QEMU answers without validating")
def checkpoint_answer(s: BothSides) -> None:
    """The device state can be loaded: VMSTATE_RECEIVED is sent. The checkpoint is restorable, and nothing goes back behind it."""
    s.when(s.phase == Phase.RECEIVED, ~s.is_promised, s.is_loadable[s.arriving_device])
    s.is_promised = True
    _exchange(s, sent=Message.VMSTATE_RECEIVED)


@layer.extends(Step.FLUSH_BEGIN, source=_INCOMING)
def flush_begin(s: BothSides) -> None:
    """Only what was validated and answered is flushed."""
    s.when(s.is_promised)


@layer.extends(Step.COMMIT, source=_INCOMING)
def commit(s: BothSides) -> None:
    """RAM and device state become the guest's in one step; VMSTATE_LOADED is sent."""
    _start_guest(s, s.arriving_device)
    s.is_promised = False
    s.has_committed = True
    s.is_ahead = False
    _exchange(s, sent=Message.VMSTATE_LOADED)


@layer.extends(Step.TAKE_OVER, source=f"{_COLO_C}:secondary_vm_do_failover; QEMU drops an answered checkpoint before its flush")
def take_over(s: BothSides) -> None:
    """A checkpoint that was answered is committed first."""
    s.when(~s.is_promised)


@layer.extends(Step.STOP, source="colofd: leaving COLO without failover")
def stop(s: BothSides) -> None:
    """A checkpoint that was answered is committed first."""
    s.when(~s.is_promised)


# What is claimed, and what carries the proof.

clauses = ClauseBook(BothSides)
initial_states = ClauseBook(BothSides)

_AT_HAND = (Phase.RECEIVED, Phase.FLUSHING)
_OURS: Final = "colofd: found from counter-examples to induction"


def _unread(s: BothSides) -> Expr[bool]:
    """Return whether something that the secondary has answered is on its way."""
    return s.in_flight[Message.VMSTATE_RECEIVED] | s.in_flight[Message.VMSTATE_LOADED] | s.in_flight[Message.CHECKPOINT_READY]


@initial_states.clause("both-sides.initial", source="migration/migration.c")
def initial(s: BothSides) -> Expr[bool]:
    """Precopy, and no message anywhere."""
    no_message = every(Message)(lambda m: ~s.in_flight[m])
    return (s.primary_at == PrimaryAt.PRECOPY) & no_message & ~s.is_promised & ~s.is_ahead & ~s.has_committed


@clauses.clause("isolation.device", source="all or nothing: the thread of the series (Peter Xu), 2026-01-21; docs/system/qemu-colo.rst")
def device_is_isolated(s: BothSides) -> Expr[bool]:
    """All or nothing: where guest RAM is the last commit plus its own writes, the device state is that of the same commit."""
    phases = (Phase.IDLE, Phase.RECEIVING, Phase.RECEIVED, Phase.FAILOVER, Phase.STOPPED, Phase.COMPLETED)
    return s.phase.within(*phases) >> (s.guest_device == s.survivor_device)


@clauses.clause("output.commit", source="net/colo-compare.c; colo.c: VMSTATE_RECEIVED")
def output_commit(s: BothSides) -> Expr[bool]:
    """Output is released only when its checkpoint is restorable: it is committed, or answered and about to be, which nothing can stop."""
    return s.is_ahead >> (s.is_promised & s.phase.within(*_AT_HAND))


@clauses.clause("output.ahead", source=_OURS)
def ahead(s: BothSides) -> Expr[bool]:
    """A primary that has just released its output is ahead of the secondary exactly while the checkpoint is not committed."""
    return (s.primary_at == PrimaryAt.RELEASED) >> (s.is_ahead == ~s.has_committed)


@clauses.clause("output.promise", source=_OURS)
def promise(s: BothSides) -> Expr[bool]:
    """An answered checkpoint is at hand and can be loaded; a flush is of an answered one."""
    kept = s.is_promised >> (s.phase.within(*_AT_HAND) & s.is_loadable[s.arriving_device])
    return kept & ((s.phase == Phase.FLUSHING) >> s.is_promised)


@clauses.clause("output.received-message", source=_OURS)
def received_message(s: BothSides) -> Expr[bool]:
    """While VMSTATE_RECEIVED is on its way, or was acted on, the checkpoint is promised or committed."""
    told = s.in_flight[Message.VMSTATE_RECEIVED] | (s.primary_at == PrimaryAt.RELEASED)
    return told >> (s.is_promised | s.has_committed)


@clauses.clause("commit.device", source="migration/savevm.c:qemu_load_device_state")
def arriving_device(s: BothSides) -> Expr[bool]:
    """From receipt to commit, the buffer holds the primary's device state, and the primary is stopped."""
    known = (s.arriving_device == s.primary_device) & s.primary_at.within(*_STOPPED)
    return s.phase.within(*_AT_HAND) >> known


@clauses.clause("colo.all-sent", source="migration/colo.c:colo_do_checkpoint_transaction")
def everything_was_sent(s: BothSides) -> Expr[bool]:
    """A primary that has sent a checkpoint, or precopy, has nothing left to send until its guest runs again."""
    done = s.primary_at.within(PrimaryAt.SENT, PrimaryAt.RELEASED)
    return every(Page)(lambda p: done >> ~s.unsent[p])


@clauses.clause("colo.last-commit", source=_OURS)
def last_commit(s: BothSides) -> Expr[bool]:
    """Between checkpoints the last one is committed; while one is coming, it is not."""
    coming = s.phase.within(Phase.RECEIVING, *_AT_HAND) >> ~s.has_committed
    return ((s.phase == Phase.IDLE) >> s.has_committed) & coming


@clauses.clause("colo.requested", source=_OURS)
def requested(s: BothSides) -> Expr[bool]:
    """A request or its reply is on its way only while the primary waits for it, and then nothing else is."""
    asked = s.in_flight[Message.CHECKPOINT_REQUEST] | s.in_flight[Message.CHECKPOINT_REPLY]
    waits = s.primary_at.within(PrimaryAt.REQUESTED, PrimaryAt.ALONE, PrimaryAt.DEAD)
    one = ~(s.in_flight[Message.CHECKPOINT_REQUEST] & s.in_flight[Message.CHECKPOINT_REPLY])
    return one & (asked >> (waits & ~_unread(s)))


@clauses.clause("colo.answers-read", source=_OURS)
def answers_read(s: BothSides) -> Expr[bool]:
    """A primary whose guest runs, or that sends, has read all answers to the checkpoint before; the first of them is CHECKPOINT_READY."""
    goes_on = s.primary_at.within(PrimaryAt.PRECOPY, PrimaryAt.RUNNING, PrimaryAt.REQUESTED, PrimaryAt.SENDING)
    answers = s.in_flight[Message.VMSTATE_RECEIVED] | s.in_flight[Message.VMSTATE_LOADED]
    return (goes_on >> ~_unread(s)) & (s.in_flight[Message.CHECKPOINT_READY] >> ~answers)


@clauses.clause("colo.one-answer", source=_OURS)
def one_answer(s: BothSides) -> Expr[bool]:
    """VMSTATE_RECEIVED is sent once for a checkpoint, and VMSTATE_LOADED after its commit."""
    first = s.in_flight[Message.CHECKPOINT_READY] | s.in_flight[Message.VMSTATE_RECEIVED]
    released = (s.primary_at == PrimaryAt.RELEASED) >> ~first
    unanswered = (s.phase.within(Phase.RECEIVING, Phase.RECEIVED) & ~s.is_promised) >> ~s.in_flight[Message.VMSTATE_RECEIVED]
    return released & unanswered & (s.in_flight[Message.VMSTATE_LOADED] >> s.has_committed)


@clauses.clause("colo.receiving", source=_OURS)
def receiving(s: BothSides) -> Expr[bool]:
    """While a checkpoint comes in, the primary is at it, its request was read, and nothing of the checkpoint before is on its way."""
    at_it = s.primary_at.within(PrimaryAt.REQUESTED, PrimaryAt.SENDING, PrimaryAt.SENT, PrimaryAt.ALONE, PrimaryAt.DEAD)
    is_coming = (s.phase == Phase.RECEIVING) >> (at_it & ~_unread(s) & ~s.in_flight[Message.CHECKPOINT_REQUEST])
    is_here = ~s.in_flight[Message.CHECKPOINT_REQUEST] & ~s.in_flight[Message.CHECKPOINT_REPLY] & ~s.in_flight[Message.CHECKPOINT_READY]
    return is_coming & (s.phase.within(*_AT_HAND) >> is_here)


@clauses.clause("colo.between", source=_OURS)
def between(s: BothSides) -> Expr[bool]:
    """Between checkpoints the primary sends nothing, and no reply is on its way."""
    sends = s.primary_at.within(PrimaryAt.PRECOPY, PrimaryAt.SENDING)
    return (s.phase == Phase.IDLE) >> ~(sends | s.in_flight[Message.CHECKPOINT_REPLY])


@clauses.clause("colo.sent-once", source=_OURS)
def sent_once(s: BothSides) -> Expr[bool]:
    """Nothing is sent between checkpoints, and no page of a checkpoint is dirtied once it is sent."""
    between = s.phase.within(Phase.FILLING, Phase.IDLE, Phase.RECEIVED, Phase.FLUSHING)
    quiet = between | (s.phase == Phase.RECEIVING) & (s.primary_at == PrimaryAt.REQUESTED)
    return every(Page)(lambda p: (quiet >> ~s.sent[p]) & ((s.phase == Phase.RECEIVING) >> ~(s.sent[p] & s.unsent[p])))


@clauses.clause("colo.no-message-yet", source=_OURS)
def no_message_yet(s: BothSides) -> Expr[bool]:
    """Before COLO no message is on its way, and the primary is in precopy, or has sent everything; during a fill, no longer in precopy."""
    before = s.phase.within(Phase.SETUP, Phase.PRECOPY, Phase.FILLING)
    primary = s.primary_at.within(PrimaryAt.PRECOPY, PrimaryAt.SENT, PrimaryAt.ALONE, PrimaryAt.DEAD)
    filling = (s.phase == Phase.FILLING) >> (s.primary_at != PrimaryAt.PRECOPY)
    return filling & (before >> (primary & every(Message)(lambda m: ~s.in_flight[m])))


(_initial,) = initial_states

BOTH_SIDES = layer.spec(_initial, clauses)
"""The receive path and the primary, with messages, device state and output."""
