"""What has been sent, whichever channel carried it: the receive path is a function of it at every barrier.

A layer over the receive path, of ghosts only. QEMU has two receive orders: the main channel writes the guest, then the cache, page by
page; a multifd channel writes the cache, then the guest, packet by packet. The clauses say what guest, cache, receivedmap and dirty
bitmap are wherever no channel carries anything, in terms of what was sent. No channel is in those terms, so both orders come to the same.
"""

from typing import Final

from colofd.spec.constants import Step
from colofd.spec.language import ClauseBook, Expr, Layer, Map, every
from colofd.spec.receive_path import SPEC
from colofd.spec.state import (
    ZERO,
    At,
    Carried,
    Channel,
    Page,
    Phase,
    Value,
    World,
    is_flying,
    is_in_colo,
    is_live,
    is_receiving,
    landed_at,
    receive_buffer,
)

_SENT: Final = "colofd: a ghost, what the primary has sent"


class Sent(World):
    """The ghosts: the history of what was sent. None of them knows a channel."""

    ever_sent = Map(Page, bool, "Ghost: the page was sent at least once.", is_ghost=True)
    sent_since_commit = Map(
        Page, bool, "Ghost: the page was sent since COLO began or, if that is later, since the last commit.", is_ghost=True
    )
    arrived = Map(Page, Value, "Ghost: the content of the page that arrived last; zeros before.", is_ghost=True)
    at_start = Map(Page, Value, "Ghost: what the guest held at first; never changes.", is_ghost=True)


layer = Layer(SPEC, Sent)


def _sent(s: Sent, page: Expr[Page]) -> None:
    s.ever_sent[page] = True
    s.sent_since_commit[page] = True


@layer.extends("send.normal-page", source=_SENT)
def send_normal_page(s: Sent, page: Expr[Page]) -> None:
    """By any channel."""
    _sent(s, page)


@layer.extends("send.zero-page", source=_SENT)
def send_zero_page(s: Sent, page: Expr[Page]) -> None:
    """By any channel."""
    _sent(s, page)


@layer.extends(Step.READ_PAGE, source=_SENT)
def read_page(s: Sent, page: Expr[Page], value: Expr[Value]) -> None:
    """What arrives is noted."""
    s.arrived[page] = value


@layer.extends(Step.ZERO_PAGE, source=_SENT)
def zero_page(s: Sent, page: Expr[Page]) -> None:
    """Zeros arrive, whether they are written or not."""
    s.arrived[page] = ZERO


@layer.extends(Step.MAIN_READ_PAGE, source=_SENT)
def main_read_page(s: Sent, page: Expr[Page], value: Expr[Value]) -> None:
    """What arrives is noted."""
    s.arrived[page] = value


@layer.extends(Step.MAIN_ZERO_PAGE, source=_SENT)
def main_zero_page(s: Sent, page: Expr[Page]) -> None:
    """Zeros arrive."""
    s.arrived[page] = ZERO


@layer.extends(Step.ENTER_COLO, source=_SENT)
def enter_colo(s: Sent) -> None:
    """A first commit."""
    s.sent_since_commit[:] = False


@layer.extends(Step.COMMIT, source=_SENT)
def commit(s: Sent) -> None:
    """From here on it is counted anew."""
    s.sent_since_commit[:] = False


initial_states = ClauseBook(Sent)
clauses = ClauseBook(Sent)


@initial_states.clause("orders.initial", source=_SENT)
def initial(s: Sent) -> Expr[bool]:
    """Nothing was sent."""
    nothing = every(Page)(lambda p: ~s.ever_sent[p] & ~s.sent_since_commit[p] & (s.arrived[p] == ZERO))
    return nothing & every(Page)(lambda p: s.at_start[p] == s.guest[p])


@clauses.clause("orders.carried", source="colofd: found from counter-examples to induction")
def carried_was_sent(s: Sent) -> Expr[bool]:
    """What a channel carries was sent; while pages arrive, since the last commit."""
    was_sent = every(Channel, Page)(lambda c, p: (s.packet[c, p] != Carried.NOTHING) >> s.ever_sent[p])
    return was_sent & every(Channel, Page)(lambda c, p: (is_receiving(s) & (s.packet[c, p] != Carried.NOTHING)) >> s.sent_since_commit[p])


@clauses.clause("orders.received", source="migration/ram.c:ram_load_precopy, multifd-nocomp.c:multifd_nocomp_recv")
def received(s: Sent) -> Expr[bool]:
    """The receivedmap has the pages that were ever sent, and are not on their way."""
    only_sent = every(Page)(lambda p: s.received[p] >> s.ever_sent[p])
    return only_sent & every(Page)(lambda p: (s.ever_sent[p] & ~is_flying(s, p)) >> s.received[p])


@clauses.clause("orders.all-arrived", source="migration/migration.c:migration_completion_precopy")
def all_arrived(s: Sent) -> Expr[bool]:
    """From the end of precopy on every page has arrived at least once."""
    after_precopy = is_in_colo(s) | s.phase.within(Phase.FILLING, Phase.FAILOVER, Phase.STOPPED, Phase.COMPLETED)
    return every(Page)(lambda p: after_precopy >> s.received[p])


@clauses.clause("orders.dirty", source="migration/ram.c:colo_record_bitmap; multifd-colo.c:multifd_colo_prepare_recv")
def dirty(s: Sent) -> Expr[bool]:
    """Until the flush the dirty bitmap has what was sent since the last commit (deferred: since ever); in mirrored precopy it is empty."""
    phases = (Phase.SETUP, Phase.PRECOPY, Phase.IDLE, Phase.RECEIVING, Phase.RECEIVED)
    is_recorded = is_in_colo(s) | s.colo & s.deferred

    def is_exact(p: Expr[Page]) -> Expr[bool]:
        only_sent = s.peer_dirty[p] >> (is_recorded & s.sent_since_commit[p])
        return only_sent & ((is_recorded & s.sent_since_commit[p] & ~is_flying(s, p)) >> s.peer_dirty[p])

    return every(Page)(lambda p: s.phase.within(*phases) >> is_exact(p))


@clauses.clause("orders.buffer", source="migration/ram.c:ram_load_precopy, multifd-nocomp.c:multifd_nocomp_recv")
def arrived_is_in_the_buffer(s: Sent) -> Expr[bool]:
    """The receive buffer (the cache or, without COLO, the guest) holds what arrived last, once no channel carries the page."""
    receives = is_live(s) | (s.phase == Phase.SETUP)
    settled = every(Page)(lambda p: (receives & ~is_flying(s, p)) >> (receive_buffer(s, p) == s.arrived[p]))
    landed = every(Channel, Page)(
        lambda c, p: (
            (is_live(s) & s.packet[c, p].within(Carried.NORMAL_LANDED, Carried.ZERO_LANDED) & (s.channel_at[c] != At.EXITED))
            >> (landed_at(s, c, p) == s.arrived[p])
        )
    )
    return settled & landed


@clauses.clause("orders.guest-untouched", source="migration/multifd-colo.c:multifd_colo_process_recv; colofd: the deferred mirror")
def guest_untouched(s: Sent) -> Expr[bool]:
    """Before COLO the guest keeps what it held at first: each page until it first arrives and, with the deferred mirror, until the fill."""
    before = s.phase.within(Phase.SETUP, Phase.PRECOPY)
    return every(Page)(lambda p: (before & (~s.received[p] | s.colo & s.deferred)) >> (s.guest[p] == s.at_start[p]))


(_initial,) = initial_states

RECEIVE_ORDERS = layer.spec(_initial, clauses)
"""The receive path, and what was sent."""
