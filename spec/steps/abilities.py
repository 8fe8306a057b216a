"""What must stay possible: a specification in which guests write less, faults are rarer or failover is refused would prove less."""

from typing import Final

from colofd.spec.both_sides import BothSides, DeviceState, Message, PrimaryAt
from colofd.spec.constants import Step
from colofd.spec.language import Expr, every, where
from colofd.spec.state import (
    MAIN,
    ZERO,
    At,
    Carried,
    Channel,
    Page,
    Phase,
    Value,
    all_sent,
    carries_nothing,
    is_live,
    is_multifd,
    is_receiving,
    is_settled,
    lands_in_guest,
)
from colofd.spec.steps.books import steps_of_both

Claim = tuple[Expr[bool], Expr[bool]]
"""When the rule can be taken, and what holds after it."""

_RUNS: Final = (PrimaryAt.PRECOPY, PrimaryAt.RUNNING, PrimaryAt.REQUESTED)

# The primary and its guest.


@steps_of_both.ability("guest.primary-write", source="a guest writes when it likes")
def primary_writes(now: BothSides, then: BothSides, page: Expr[Page], value: Expr[Value]) -> Claim:
    """As long as the secondary receives, a running primary may write anything to any page, and the page must be sent again."""
    return now.primary_at.within(*_RUNS) & is_live(now), (then.primary[page] == value) & then.unsent[page]


@steps_of_both.ability("guest.primary-device", source="a guest's devices change when they like")
def primary_devices_change(now: BothSides, then: BothSides, device: Expr[DeviceState]) -> Claim:
    """The devices of a running primary may come to any state."""
    return now.primary_at.within(*_RUNS), then.primary_device == device


@steps_of_both.ability("colo.precopy-sent", source="migration/migration.c:migration_completion_precopy")
def primary_ends_precopy(now: BothSides, then: BothSides) -> Claim:
    """When all pages were sent the primary may end precopy."""
    return (now.primary_at == PrimaryAt.PRECOPY) & all_sent(now), then.primary_at == PrimaryAt.SENT


@steps_of_both.ability("colo.release-output", source="migration/colo.c:colo_do_checkpoint_transaction")
def primary_releases_output(now: BothSides, then: BothSides) -> Claim:
    """The primary need not wait for the commit: it may let its output go as soon as VMSTATE_RECEIVED is there."""
    return (now.primary_at == PrimaryAt.SENT) & now.in_flight[Message.VMSTATE_RECEIVED], then.primary_at == PrimaryAt.RELEASED


def _can_send(now: BothSides, channel: Expr[Channel], page: Expr[Page]) -> Expr[bool]:
    is_time = now.primary_at.within(PrimaryAt.PRECOPY, PrimaryAt.SENDING) & is_receiving(now)
    is_free = (now.channel_at[channel] == At.READY) & (is_multifd(channel) | carries_nothing(now, channel))
    return is_time & is_free & now.unsent[page] & ~now.sent[page]


@steps_of_both.ability("send.normal-page", source="migration/ram.c:ram_save_target_page")
def sends_pages(now: BothSides, then: BothSides, channel: Expr[Channel], page: Expr[Page]) -> Claim:
    """Which channel carries a page, how many pages a packet has, and whether zeros are looked for, is the primary's choice."""
    return _can_send(now, channel, page), then.packet[channel, page] == Carried.NORMAL


@steps_of_both.ability("send.zero-page", source="migration/ram.c:ram_save_target_page")
def sends_zero_pages(now: BothSides, then: BothSides, channel: Expr[Channel], page: Expr[Page]) -> Claim:
    """A page of zeros may go as such by any channel."""
    return _can_send(now, channel, page) & (now.primary[page] == ZERO), then.packet[channel, page] == Carried.ZERO


# Reading: what arrives is the primary's choice too.


def _is_read(now: BothSides, channel: Expr[Channel], page: Expr[Page]) -> Expr[bool]:
    return (now.channel_at[channel] == At.BODY) & (now.packet[channel, page] == Carried.NORMAL)


def _holds(now: BothSides, then: BothSides, channel: Expr[Channel], page: Expr[Page], value: Expr[Value]) -> Expr[bool]:
    """Return whether the page lies where the channel's pages land, and is known to have arrived."""
    return (where(lands_in_guest(now, channel), then.guest[page], then.cache[page]) == value) & then.received[page]


@steps_of_both.ability(Step.READ_PART, source="a stream is read in pieces")
def multifd_reads_in_pieces(now: BothSides, then: BothSides, channel: Expr[Channel], page: Expr[Page], value: Expr[Value]) -> Claim:
    """While a page is being read, its buffer may hold anything."""
    return is_multifd(channel) & _is_read(now, channel, page), _holds(now, then, channel, page, value)


@steps_of_both.ability(Step.MAIN_READ_PART, source="a stream is read in pieces")
def main_reads_in_pieces(now: BothSides, then: BothSides, page: Expr[Page], value: Expr[Value]) -> Claim:
    """While a page is being read, its buffer may hold anything."""
    return _is_read(now, MAIN, page), _holds(now, then, MAIN, page, value)


@steps_of_both.ability(Step.READ_PAGE, source="migration/multifd.c: a page is sent while the guest writes it")
def multifd_reads_mixtures(now: BothSides, then: BothSides, channel: Expr[Channel], page: Expr[Page], value: Expr[Value]) -> Claim:
    """A page that the primary's guest has written since it was sent may arrive as anything."""
    is_mixture = is_multifd(channel) & _is_read(now, channel, page) & now.unsent[page]
    return is_mixture, _holds(now, then, channel, page, value) & (then.packet[channel, page] == Carried.NORMAL_LANDED)


@steps_of_both.ability(Step.MAIN_READ_PAGE, source="migration/ram.c:ram_save_page: a page is sent while the guest writes it")
def main_reads_mixtures(now: BothSides, then: BothSides, page: Expr[Page], value: Expr[Value]) -> Claim:
    """A page that the primary's guest has written since it was sent may arrive as anything."""
    is_mixture = _is_read(now, MAIN, page) & now.unsent[page]
    return is_mixture, _holds(now, then, MAIN, page, value) & (then.packet[MAIN, page] == Carried.NORMAL_LANDED)


# A thread that has ended after the last barrier holds up nothing.


def _is_complete(now: BothSides, phase: Phase) -> Expr[bool]:
    return (now.phase == phase) & all_sent(now) & is_settled(now) & (now.primary_at == PrimaryAt.SENT)


@steps_of_both.ability(Step.COMPLETE, source="migration/multifd.c:multifd_recv_thread: it ends with its stream")
def completes(now: BothSides, then: BothSides) -> Claim:
    """Without COLO the guest starts, whichever threads have ended by then."""
    return _is_complete(now, Phase.PRECOPY) & ~now.colo, then.guest_running & (then.guest_device == now.primary_device)


@steps_of_both.ability(Step.FILL_BEGIN, source="colofd: the deferred mirror")
def fills(now: BothSides, then: BothSides) -> Claim:
    """With the deferred mirror the guest is filled, whichever threads have ended by then."""
    return _is_complete(now, Phase.PRECOPY) & now.colo & now.deferred, then.phase == Phase.FILLING


@steps_of_both.ability(Step.ENTER_COLO, source="migration/colo.c:colo_process_incoming_thread")
def enters_colo(now: BothSides, then: BothSides) -> Claim:
    """The secondary's guest starts, whichever threads have ended by then."""
    return _is_complete(now, Phase.PRECOPY) & now.colo & ~now.deferred, then.guest_running & then.in_flight[Message.CHECKPOINT_READY]


@steps_of_both.ability(Step.CHECKPOINT_RECEIVED, source="migration/colo.c:colo_incoming_process_checkpoint")
def receives(now: BothSides, then: BothSides) -> Claim:
    """A checkpoint that is here completely is received, whichever threads have ended by then."""
    return _is_complete(now, Phase.RECEIVING), then.arriving_device == now.primary_device


# Leaving, and faults.


@steps_of_both.ability(Step.STOP, source="colofd: leaving COLO without failover")
def stops(now: BothSides, then: BothSides) -> Claim:
    """COLO can be left wherever no checkpoint was answered; no channel and no primary is waited for."""
    return now.phase.within(Phase.IDLE, Phase.RECEIVING, Phase.RECEIVED) & ~now.is_promised, ~then.guest_running


@steps_of_both.ability("failover.primary", source="migration/colo.c:primary_vm_do_failover")
def primary_goes_on_alone(now: BothSides, then: BothSides) -> Claim:
    """From the end of precopy on, the primary can go on alone at every step."""
    return ~now.primary_at.within(PrimaryAt.PRECOPY, PrimaryAt.ALONE, PrimaryAt.DEAD), then.primary_at == PrimaryAt.ALONE


@steps_of_both.ability(Step.EXIT, source="migration/multifd.c:multifd_recv_terminate_threads")
def threads_end(now: BothSides, then: BothSides, channel: Expr[Channel]) -> Claim:
    """A receive thread may end at any micro-step."""
    return (now.phase != Phase.SETUP) & (now.channel_at[channel] != At.EXITED), then.channel_at[channel] == At.EXITED


@steps_of_both.ability("fault.primary-dies", source="a crash or a power cut")
def primary_dies(now: BothSides, then: BothSides) -> Claim:
    """The primary may die at any step."""
    return now.primary_at != PrimaryAt.DEAD, then.primary_at == PrimaryAt.DEAD


@steps_of_both.ability("fault.message-lost", source="a connection that is cut")
def messages_are_lost(now: BothSides, then: BothSides, message: Expr[Message]) -> Claim:
    """Whatever is on its way may never arrive, and all else may."""
    others = every(Message)(lambda m: (m != message) >> (now.in_flight[m] == then.in_flight[m]))
    return now.in_flight[message], ~then.in_flight[message] & others
