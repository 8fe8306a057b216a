"""What measures share: the steps they do not speak of, and what remains of a round."""

from typing import Final

from colofd.spec.both_sides import BothSides
from colofd.spec.constants import Step
from colofd.spec.language import Except, Expr, every, some
from colofd.spec.state import (
    At,
    Carried,
    Channel,
    Page,
    carries_nothing,
    is_multifd,
    is_settled,
)

TRANSACTION: Final = "migration/colo.c:colo_do_checkpoint_transaction"
INCOMING: Final = "migration/colo.c:colo_incoming_process_checkpoint"

TO_LAND: Final = (Carried.NORMAL, Carried.ZERO)
MAIN_STEPS: Final = (Step.MAIN_PREPARE, Step.MAIN_ZERO_PAGE, Step.MAIN_READ_PAGE, Step.MAIN_MIRROR)
MULTIFD_STEPS: Final = (Step.PREPARE, Step.ZERO_PAGE, Step.READ_PAGE, Step.PAYLOAD_COMPLETE, Step.MIRROR, Step.PACKET_DONE)


CHANNEL_EXITS: Final = Except(Step.EXIT, "a fault: without this channel the round never ends; failover and giving up do not wait for it")
PRIMARY_DIES: Final = Except("fault.primary-dies", "a fault: failover and giving up do not wait for the primary")
PRIMARY_ALONE: Final = Except("failover.primary", "the primary has given the secondary up")
MESSAGE_LOST: Final = Except("fault.message-lost", "a fault: the connection is gone, and a failover is due on either side")
GIVEN_UP: Final = Except(Step.GIVE_UP, "precopy has failed")
TAKEN_OVER: Final = Except(Step.TAKE_OVER, "failover instead")
STOPPED: Final = Except(Step.STOP, "COLO is left instead")
EMPTY_PACKET: Final = Except(Step.PREPARE, "the peer sends packets with no pages, for ever", carries_nothing)
MORE_PAGES: Final = (
    Except("send.normal-page", "the peer sends more; the claim is of the pages sent so far"),
    Except("send.zero-page", "the peer sends more; the claim is of the pages sent so far"),
)
LEFT: Final = (GIVEN_UP, TAKEN_OVER, STOPPED)
PEER_FAULTS: Final = (PRIMARY_DIES, PRIMARY_ALONE)


def all_receive(s: BothSides) -> Expr[bool]:
    """No receive thread has ended."""
    return every(Channel)(lambda c: s.channel_at[c] != At.EXITED)


def is_over(s: BothSides) -> Expr[bool]:
    """A barrier was the last thing that happened, and every channel is between packets."""
    return is_settled(s) & every(Channel)(lambda c: s.channel_at[c] == At.READY)


def _is_announced(s: BothSides, channel: Expr[Channel]) -> Expr[bool]:
    """A packet is on its way that the thread has not begun to read."""
    return (s.channel_at[channel] == At.READY) & ~carries_nothing(s, channel)


def round_parts(s: BothSides) -> tuple[Expr[bool], ...]:
    """Return what remains of a round: packets to read, to land, to mirror, and SYNC on every multifd channel."""

    def carries(c: Expr[Channel]) -> Expr[bool]:
        return _is_announced(s, c) | s.channel_at[c].within(At.BODY, At.PROCESSING)

    return (
        some(Channel)(lambda c: _is_announced(s, c)),
        some(Channel, Page)(lambda c, p: s.packet[c, p].within(*TO_LAND)),
        some(Channel)(lambda c: _is_announced(s, c) | (s.channel_at[c] == At.BODY)),
        some(Channel, Page)(lambda c, p: s.packet[c, p] != Carried.NOTHING),
        some(Channel)(carries),
        some(Channel)(lambda c: is_multifd(c) & (s.channel_at[c] != At.PARKED)),
    )


ROUND_STEPS: Final = (*MULTIFD_STEPS, *MAIN_STEPS, Step.PARK, Step.RELEASE)


NOTHING_MORE: Final = (
    Except(Step.PREPARE, "the peer sends more packets after the last round"),
    Except(Step.PARK, "the peer begins another round after the last"),
)
