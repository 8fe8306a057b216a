"""Which rules a wrong page points to: how it came last is all that is known of a receiver that shows its guest RAM only."""

from collections.abc import Iterable
from dataclasses import dataclass

from colofd.spec.constants import MAIN_CHANNEL, Step

_LANDS = {
    (False, False): (Step.PREPARE, Step.READ_PAGE),
    (False, True): (Step.PREPARE, Step.ZERO_PAGE),
    (True, False): (Step.MAIN_PREPARE, Step.MAIN_READ_PAGE),
    (True, True): (Step.MAIN_PREPARE, Step.MAIN_ZERO_PAGE),
}
"""By whether it came on the main channel, and as a zero page: the steps that put it into the receive buffer, and record it."""

FAILOVER = "failover"
"""What a move is called by which the secondary takes over."""

_OUTLIVED = (Step.TAKE_OVER, Step.RELEASE_CACHE, Step.RELEASE_RECEIVEDMAP)


@dataclass(frozen=True)
class Arrival:
    """How a page came: on which channel, as a zero page or with content, in which checkpoint; 0 is precopy."""

    channel: str
    is_zero: bool
    checkpoint: int

    @property
    def is_of_main(self) -> bool:
        """Whether it came on the main channel."""
        return self.channel == MAIN_CHANNEL

    def __str__(self) -> str:
        what = "a zero page" if self.is_zero else "a page with content"
        return f"{what} on {self.channel}, in {f'checkpoint {self.checkpoint}' if self.checkpoint else 'precopy'}"


def clue(page: int, arrival: Arrival | None, broken: str, checkpoint: int) -> str:
    """Return how a wrong page came last, and the ids of the rules by which it would be right.

    Args:
        page: its number.
        arrival: how it came last; None if it never did.
        broken: id of the rule or clause that was looked at.
        checkpoint: the last one that was begun; 0 is precopy.
    """
    how = f"came last as {arrival}" if arrival else "has never come"
    return f"page {page} {how}: see {', '.join(_rules(arrival, broken, checkpoint))}"


def _rules(arrival: Arrival | None, broken: str, checkpoint: int) -> Iterable[Step]:
    if broken == Step.ANSWER:
        # What was answered counts: nobody takes over before it is committed.
        return (Step.ANSWER, *_rules(arrival, Step.COMMIT, checkpoint), Step.TAKE_OVER)
    is_fresh = arrival is not None and arrival.checkpoint == checkpoint
    if arrival is None or not is_fresh:
        # It has changed all the same: the guest has written it, or nobody has.
        copied = (Step.MAIN_MIRROR,) if arrival and arrival.is_of_main and not arrival.checkpoint else ()
        return (*copied, Step.FLUSH_PAGE, Step.FLUSH_BEGIN) if broken == Step.COMMIT else (Step.FLUSH_BEGIN,)
    lands = _LANDS[arrival.is_of_main, arrival.is_zero]
    if broken == Step.COMMIT:
        return (*lands, Step.FLUSH_PAGE)
    if broken in {Step.ENTER_COLO, Step.COMPLETE}:
        return (*lands, Step.MAIN_MIRROR if arrival.is_of_main else Step.MIRROR)
    return (lands[0] if arrival.is_of_main else Step.MIRROR, Step.FLUSH_BEGIN, Step.TAKE_OVER)


def end_clue(move: str) -> str:
    """Return the ids of the rules by which the receiver outlives its last move, as the end of a sentence; empty if none is about that."""
    return f": see {', '.join(_OUTLIVED)}" if move == FAILOVER else ""
