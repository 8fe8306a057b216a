"""Who waits for whom: nobody but in these states, each with the steps that end it; and where the destination has come to its end."""

from typing import Final

from colofd.spec.both_sides import BOTH_SIDES, BothSides, Message, PrimaryAt
from colofd.spec.constants import Step
from colofd.spec.language import ClauseBook, Except, Expr, ProgressBook, every, some
from colofd.spec.progress.terms import EMPTY_PACKET
from colofd.spec.state import At, Channel, Page, Phase, is_receiving

_ENDS: Final = (Phase.FAILOVER, Phase.STOPPED, Phase.COMPLETED, Phase.FAILED)
_INSTEAD: Final = "somebody must choose this way out: it ends a wait, and is no way on"
_NO_HELP: Final = "it helps nobody on"
_FAULT: Final = "a fault"
_WAYS_OUT: Final = (Step.GIVE_UP, Step.TAKE_OVER, Step.STOP)

waits = ProgressBook(BOTH_SIDES, BothSides)
end_states = ClauseBook(BothSides)


@end_states.clause("end.released", source="migration/migration.c:migration_incoming_state_destroy")
def is_end(s: BothSides) -> Expr[bool]:
    """The migration is over at the destination, whichever way, and nothing is allocated any more."""
    return s.phase.within(*_ENDS) & ~s.cache_allocated & ~s.receivedmap_allocated


def _still_receives(s: BothSides) -> Expr[bool]:
    return ~s.phase.within(*_ENDS)


def _begins_empty_round(s: BothSides) -> Expr[bool]:
    """Nothing was sent since the last barrier, and no channel has read SYNC since."""
    return every(Page)(lambda p: ~s.sent[p]) & every(Channel)(lambda c: s.channel_at[c] != At.PARKED)


no_way_on = waits.excuses(
    [
        Except("guest.primary-write", _NO_HELP),
        Except("guest.primary-device", _NO_HELP),
        Except("guest.secondary-write", _NO_HELP),
        Except("guest.secondary-device", _NO_HELP),
        Except(Step.READ_PART, _NO_HELP),
        Except(Step.MAIN_READ_PART, _NO_HELP),
        EMPTY_PACKET,
        Except(Step.PARK, "the peer ends rounds with no pages, for ever", _begins_empty_round),
        Except("fault.primary-dies", _FAULT),
        Except("fault.message-lost", _FAULT),
        Except(Step.EXIT, _FAULT, _still_receives),
        Except("failover.primary", _INSTEAD),
        *(Except(step, _INSTEAD) for step in _WAYS_OUT),
    ]
)
"""Steps that do not count when it is asked whether somebody can go on."""


@waits.wait("wait.channel", source="migration/multifd.c:multifd_recv_sync_main; 11.1.3 waits here for ever", ended_by=_WAYS_OUT)
def waits_for_channel(s: BothSides) -> Expr[bool]:
    """A receive thread has ended while pages come in: the barrier never opens."""
    return is_receiving(s) & some(Channel)(lambda c: s.channel_at[c] == At.EXITED)


@waits.wait("wait.primary", source="migration/colo.c:colo_wait_handle_message", ended_by=_WAYS_OUT)
def waits_for_primary(s: BothSides) -> Expr[bool]:
    """The primary is dead, or has gone on alone."""
    is_waiting = s.phase.within(Phase.PRECOPY, Phase.FILLING, Phase.IDLE, Phase.RECEIVING)
    return is_waiting & s.primary_at.within(PrimaryAt.ALONE, PrimaryAt.DEAD)


@waits.wait("wait.message", source="migration/colo.c:colo_receive_check_message", ended_by=(Step.TAKE_OVER, Step.STOP))
def waits_for_message(s: BothSides) -> Expr[bool]:
    """A message was lost that the primary or the secondary waits for."""
    request = s.in_flight[Message.CHECKPOINT_REQUEST] | s.in_flight[Message.CHECKPOINT_REPLY]
    answer = s.in_flight[Message.CHECKPOINT_READY] | s.in_flight[Message.VMSTATE_RECEIVED]
    lost_request = (s.primary_at == PrimaryAt.REQUESTED) & ~request
    lost_answer = (s.primary_at == PrimaryAt.SENT) & ~answer
    lost_commit = (s.primary_at == PrimaryAt.RELEASED) & ~s.in_flight[Message.VMSTATE_LOADED]
    between = s.phase == Phase.IDLE
    return between & (lost_request | lost_answer | lost_commit) | (s.phase == Phase.RECEIVING) & lost_request


@waits.wait("wait.device-state", source="migration/savevm.c:qemu_load_device_state", ended_by=(Step.TAKE_OVER, Step.STOP))
def waits_with_device_state(s: BothSides) -> Expr[bool]:
    """The checkpoint is here, but its device state cannot be loaded: it is never answered."""
    return (s.phase == Phase.RECEIVED) & ~s.is_promised & ~s.is_loadable[s.arriving_device]
