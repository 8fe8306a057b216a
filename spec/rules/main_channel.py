"""Receiving by the main channel: guest first, cache second; one page at a time."""

from colofd.spec.constants import Step
from colofd.spec.language import Actor, Expr, RuleBook, some, where
from colofd.spec.rules.receive import land, latch
from colofd.spec.state import MAIN, ZERO, At, Carried, Page, Value, World, is_receiving

rules = RuleBook(World)


@rules.rule(Step.MAIN_PREPARE, by=Actor.RECEIVER, source="migration/ram.c:ram_load_precopy, colo_record_bitmap")
def main_prepare(s: World) -> None:
    """A page record is accepted: recorded dirty and latched exactly as a packet of a multifd channel."""
    s.when(s.channel_at[MAIN] == At.READY, is_receiving(s))
    s.when(some(Page)(lambda q: s.packet[MAIN, q] != Carried.NOTHING))
    s.channel_at[MAIN] = At.BODY
    latch(s, MAIN)


@rules.rule(
    Step.MAIN_ZERO_PAGE,
    by=Actor.RECEIVER,
    source="migration/ram.c:ram_handle_zero",
    question="question.same-zero-checks",
)
def main_zero_page(s: World, page: Expr[Page]) -> None:
    """A zero record: the buffer is cleared whatever has arrived before. The main channel never elides by the receivedmap."""
    s.when(s.channel_at[MAIN] == At.BODY, s.packet[MAIN, page] == Carried.ZERO)
    land(s, MAIN, page, ZERO)
    s.packet[MAIN, page] = Carried.ZERO_LANDED
    s.channel_at[MAIN] = At.PROCESSING


@rules.rule(Step.MAIN_READ_PART, by=Actor.RECEIVER, source="migration/ram.c:ram_load_precopy")
def main_read_part(s: World, page: Expr[Page], value: Expr[Value]) -> None:
    """Some bytes of a page have arrived: the receive buffer holds anything."""
    s.when(s.channel_at[MAIN] == At.BODY, s.packet[MAIN, page] == Carried.NORMAL)
    land(s, MAIN, page, value)


@rules.rule(Step.MAIN_READ_PAGE, by=Actor.RECEIVER, source="migration/ram.c:ram_load_precopy")
def main_read_page(s: World, page: Expr[Page], value: Expr[Value]) -> None:
    """A page has arrived: as the primary has it, or any mixture if its guest has written the page since."""
    s.when(s.channel_at[MAIN] == At.BODY, s.packet[MAIN, page] == Carried.NORMAL)
    s.when((value == s.primary[page]) | s.unsent[page])
    land(s, MAIN, page, value)
    s.packet[MAIN, page] = Carried.NORMAL_LANDED
    s.channel_at[MAIN] = At.PROCESSING


@rules.rule(
    Step.MAIN_MIRROR,
    by=Actor.RECEIVER,
    source="migration/ram.c:ram_load_precopy",
    question="question.write-order",
)
def main_mirror(s: World, page: Expr[Page]) -> None:
    """The page is copied from the guest to the cache if that was latched, and the record is done."""
    s.when(s.channel_at[MAIN] == At.PROCESSING)
    s.when(s.packet[MAIN, page].within(Carried.NORMAL_LANDED, Carried.ZERO_LANDED))
    s.cache[page] = where(s.mirror[MAIN], s.guest[page], s.cache[page])
    s.packet[MAIN, page] = Carried.NOTHING
    s.channel_at[MAIN] = At.READY
