"""Known mistakes of the protocol between primary and secondary: what the layer with both sides says, with one text changed."""

from colofd.model.controls_declared import Shows, of_both_sides
from colofd.model.proof_obligations import Kind
from colofd.spec import both_sides
from colofd.spec.both_sides import BothSides, Message, PrimaryAt
from colofd.spec.constants import Step
from colofd.spec.language import Expr
from colofd.spec.state import Phase, is_settled

controls = of_both_sides()


def _take(s: BothSides, message: Message) -> None:
    def left(m: Expr[Message]) -> Expr[bool]:
        return s.in_flight[m] & (m != message)

    s.in_flight[:] = left


def _send(s: BothSides, message: Message) -> None:
    def more(m: Expr[Message]) -> Expr[bool]:
        return s.in_flight[m] | (m == message)

    s.in_flight[:] = more


def _shows(breaks: str | Kind) -> Shows:
    return Shows(breaks, "both-sides")


@controls.wrong(
    "take-over drops an answered checkpoint",
    Step.TAKE_OVER,
    must_fail=("failover.take-over keeps output.commit", "failover.take-over keeps output.promise"),
    shows=_shows("output.commit"),
    source="migration/colo.c:secondary_vm_do_failover",
)
def _take_over_drops_the_answered(_s: BothSides) -> None:
    """A failover between VMSTATE_RECEIVED and the flush goes back behind what the primary has released, as in QEMU."""


@controls.wrong(
    "answered without validating",
    Step.ANSWER,
    must_fail=("checkpoint.answer keeps output.promise",),
    shows=_shows("output.promise"),
    source="migration/colo.c:colo_incoming_process_checkpoint",
)
def _answer_without_validating(s: BothSides) -> None:
    """VMSTATE_RECEIVED is sent for a device state that may not load, as in QEMU."""
    s.when(s.phase == Phase.RECEIVED, ~s.is_promised)
    s.is_promised = True
    _send(s, Message.VMSTATE_RECEIVED)


@controls.wrong(
    "flushed before the answer",
    Step.FLUSH_BEGIN,
    must_fail=("checkpoint.flush-begin keeps output.promise",),
    shows=_shows("output.promise"),
    source="ours: migration/colo.c:colo_incoming_process_checkpoint the other way round",
)
def _flush_unanswered(_s: BothSides) -> None:
    """The flush does not wait for the answer."""


@controls.wrong(
    "output released when sent",
    "colo.release-output",
    must_fail=("colo.release-output keeps output.commit", "colo.release-output keeps output.received-message"),
    shows=_shows("output.commit"),
    source="ours: migration/colo.c:colo_do_checkpoint_transaction without waiting for VMSTATE_RECEIVED",
)
def _release_when_sent(s: BothSides) -> None:
    """The primary lets its output go as soon as it has sent everything."""
    s.when(s.primary_at == PrimaryAt.SENT)
    s.primary_at = PrimaryAt.RELEASED
    s.is_ahead = ~s.has_committed
    _take(s, Message.VMSTATE_RECEIVED)


@controls.wrong(
    "primary resumed when released",
    "colo.resume",
    must_fail=("colo.resume keeps commit.device",),
    shows=_shows("commit.device"),
    source="ours: migration/colo.c:colo_do_checkpoint_transaction without waiting for VMSTATE_LOADED",
)
def _resume_when_released(s: BothSides) -> None:
    """The primary's guest runs again before the secondary has said that it has loaded."""
    s.when(s.primary_at == PrimaryAt.RELEASED)
    s.primary_at = PrimaryAt.RUNNING
    _take(s, Message.VMSTATE_LOADED)


@controls.wrong(
    "device state taken from a running primary",
    Step.CHECKPOINT_RECEIVED,
    must_fail=("checkpoint.received keeps commit.device",),
    shows=_shows("commit.device"),
    source="ours: migration/savevm.c:qemu_save_device_state before the guest is stopped",
)
def _receive_while_running(s: BothSides) -> None:
    """The device state is taken while the primary may still run."""
    s.arriving_device = s.primary_device


@controls.wrong(
    "commit without device state",
    Step.COMMIT,
    must_fail=("checkpoint.commit keeps isolation.device",),
    shows=_shows("isolation.device"),
    source="migration/colo.c:colo_incoming_process_checkpoint: a device state that fails to load after the flush has no way back",
)
def _commit_without_device(s: BothSides) -> None:
    """The flush is a commit, but the guest keeps the device state that it had."""
    s.survivor_device = s.arriving_device
    s.is_promised = False
    s.has_committed = True
    s.is_ahead = False
    _send(s, Message.VMSTATE_LOADED)


@controls.wrong(
    "checkpoint begun unasked",
    Step.CHECKPOINT_BEGIN,
    must_fail=("checkpoint.begin keeps colo.receiving", "checkpoint.begin keeps colo.requested"),
    shows=_shows("colo.requested"),
    source="ours: migration/colo.c:colo_wait_handle_message without waiting",
)
def _begin_unasked(s: BothSides) -> None:
    """A checkpoint begins although none was requested."""
    s.has_committed = False
    _send(s, Message.CHECKPOINT_REPLY)


# What is never reached.


@controls.wrong(
    "failover waits for the barrier",
    Step.TAKE_OVER,
    must_fail=("failover.takes-over: a step that helps is possible",),
    shows=_shows(Kind.PROGRESS),
    source="migration/multifd.c:multifd_recv_sync_main; observed on 11.1.3: x-colo-lost-heartbeat never answers if one SYNC does not come",
)
def _take_over_after_the_barrier(s: BothSides) -> None:
    """Failover is possible only where every channel has read its SYNC: one that never comes holds it for ever."""
    both_sides.take_over(s)
    s.when((s.phase != Phase.RECEIVING) | is_settled(s))


@controls.wrong(
    "failover waits for the device state",
    Step.TAKE_OVER,
    must_fail=("failover.takes-over: a step that helps is possible",),
    shows=_shows(Kind.PROGRESS),
    source="ours: a received checkpoint whose device state does not load would hold the secondary",
)
def _take_over_after_the_device_state(s: BothSides) -> None:
    """A received checkpoint must be committed before failover, whether it can be loaded or not."""
    both_sides.take_over(s)
    s.when(s.phase != Phase.RECEIVED)
