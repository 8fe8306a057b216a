"""What the receiver may rely on: the two guests, and the obligations of the sender."""

from colofd.spec.language import Actor, Expr, RuleBook
from colofd.spec.state import MAIN, ZERO, At, Carried, Channel, Page, Phase, Value, World, carries_nothing, is_receiving

rules = RuleBook(World)


@rules.rule("guest.primary-write", by=Actor.PRIMARY, source="migration/ram.c:migration_bitmap_sync")
def primary_write(s: World, page: Expr[Page], value: Expr[Value]) -> None:
    """The primary's guest writes a page, until it is stopped for a checkpoint; the page must be sent (again)."""
    s.when(s.phase.within(Phase.PRECOPY, Phase.IDLE, Phase.RECEIVING))
    s.primary[page] = value
    s.unsent[page] = True


@rules.rule("guest.secondary-write", by=Actor.GUEST, source="migration/ram.c:colo_incoming_start_dirty_log")
def secondary_write(s: World, page: Expr[Page], value: Expr[Value]) -> None:
    """The secondary's guest writes a page of its own RAM; the dirty log notices."""
    s.when(s.guest_running)
    s.guest[page] = value
    s.own_dirty[page] = True
    s.survivor[page] = value


def _send(s: World, channel: Expr[Channel], page: Expr[Page]) -> None:
    """A page that needs sending joins the packet of a channel: once a round, and one at a time on the main channel."""
    s.when(is_receiving(s), s.channel_at[channel] == At.READY, s.unsent[page], ~s.sent[page])
    s.when((channel != MAIN) | carries_nothing(s, channel))
    s.unsent[page] = False
    s.sent[page] = True


@rules.rule("send.normal-page", by=Actor.PRIMARY, source="migration/multifd-nocomp.c:multifd_queue_page, ram.c:ram_save_page")
def send_normal_page(s: World, channel: Expr[Channel], page: Expr[Page]) -> None:
    """A page joins a packet with its content. A page is sent at most once between two barriers."""
    _send(s, channel, page)
    s.packet[channel, page] = Carried.NORMAL


@rules.rule("send.zero-page", by=Actor.PRIMARY, source="migration/multifd-zero-page.c:multifd_send_zero_page_detect, ram.c:save_zero_page")
def send_zero_page(s: World, channel: Expr[Channel], page: Expr[Page]) -> None:
    """A page that holds zeros joins a packet as an offset only."""
    _send(s, channel, page)
    s.when(s.primary[page] == ZERO)
    s.packet[channel, page] = Carried.ZERO
