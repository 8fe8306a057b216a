"""Receiving by a multifd channel: cache first, guest second, the decision latched in between."""

from colofd.spec.constants import Step
from colofd.spec.language import Actor, Expr, RuleBook, every, where
from colofd.spec.state import (
    ZERO,
    At,
    Carried,
    Channel,
    Page,
    Phase,
    Value,
    World,
    carries_nothing,
    is_multifd,
    is_receiving,
    lands_in_guest,
)

rules = RuleBook(World)


def latch(s: World, channel: Expr[Channel]) -> None:
    """Decide about the packet: mirrored if it is prepared in precopy; recorded as dirty in COLO, or if the mirror is deferred."""
    s.mirror[channel] = s.colo & ~s.deferred & (s.phase == Phase.PRECOPY)
    is_recorded = (s.phase == Phase.RECEIVING) | s.colo & s.deferred
    s.peer_dirty[:] = lambda q: s.peer_dirty[q] | is_recorded & (s.packet[channel, q] != Carried.NOTHING)


def land(s: World, channel: Expr[Channel], page: Expr[Page], value: Expr[Value]) -> None:
    """Put a page into the receive buffer of its channel, and note that it has arrived.

    QEMU's main channel notes it in precopy only, which comes to the same: every page has arrived before COLO begins.
    """
    in_guest = lands_in_guest(s, channel)
    s.guest[page] = where(in_guest, value, s.guest[page])
    s.cache[page] = where(in_guest, s.cache[page], value)
    s.received[page] = True


@rules.rule(
    Step.PREPARE,
    by=Actor.RECEIVER,
    source="migration/multifd-colo.c:multifd_colo_prepare_recv, multifd-nocomp.c:multifd_ram_unfill_packet",
    question="question.hook-place, question.threads-past-colo",
)
def prepare(s: World, channel: Expr[Channel]) -> None:
    """A packet header is accepted: in COLO every page of it, normal or zero, is recorded dirty, and mirroring is decided once.

    The decision reads a phase that never comes back. "Not in COLO state" would come back after failover.
    """
    s.when(is_multifd(channel), s.channel_at[channel] == At.READY, is_receiving(s))
    s.channel_at[channel] = At.BODY
    latch(s, channel)


@rules.rule(
    Step.ZERO_PAGE,
    by=Actor.RECEIVER,
    source="migration/multifd-zero-page.c:multifd_recv_zero_page_process",
    question="question.zero-on-cache",
)
def zero_page(s: World, channel: Expr[Channel], page: Expr[Page]) -> None:
    """A zero page: the first arrival trusts the fresh buffer, later ones clear it."""
    s.when(is_multifd(channel), s.channel_at[channel] == At.BODY, s.packet[channel, page] == Carried.ZERO)
    buffer = where(s.colo, s.cache[page], s.guest[page])
    land(s, channel, page, where(s.received[page], ZERO, buffer))
    s.packet[channel, page] = Carried.ZERO_LANDED


@rules.rule(Step.READ_PART, by=Actor.RECEIVER, source="migration/multifd-nocomp.c:multifd_nocomp_recv")
def read_part(s: World, channel: Expr[Channel], page: Expr[Page], value: Expr[Value]) -> None:
    """Some bytes of a page have arrived: the receive buffer holds anything."""
    s.when(is_multifd(channel), s.channel_at[channel] == At.BODY, s.packet[channel, page] == Carried.NORMAL)
    land(s, channel, page, value)


@rules.rule(Step.READ_PAGE, by=Actor.RECEIVER, source="migration/multifd-nocomp.c:multifd_nocomp_recv, multifd-zlib.c:multifd_zlib_recv")
def read_page(s: World, channel: Expr[Channel], page: Expr[Page], value: Expr[Value]) -> None:
    """A page has arrived: as the primary has it, or any mixture if its guest has written the page since."""
    s.when(is_multifd(channel), s.channel_at[channel] == At.BODY, s.packet[channel, page] == Carried.NORMAL)
    s.when((value == s.primary[page]) | s.unsent[page])
    land(s, channel, page, value)
    s.packet[channel, page] = Carried.NORMAL_LANDED


@rules.rule(Step.PAYLOAD_COMPLETE, by=Actor.RECEIVER, source="migration/multifd.c:multifd_ram_state_recv")
def payload_complete(s: World, channel: Expr[Channel]) -> None:
    """Every page of the packet has landed. The main channel never gets here: its one page lands and is mirrored next."""
    s.when(s.channel_at[channel] == At.BODY)
    s.when(every(Page)(lambda q: s.packet[channel, q].within(Carried.NOTHING, Carried.NORMAL_LANDED, Carried.ZERO_LANDED)))
    s.channel_at[channel] = At.PROCESSING


@rules.rule(
    Step.MIRROR,
    by=Actor.RECEIVER,
    source="migration/multifd-colo.c:multifd_colo_process_recv",
    question="question.write-order",
)
def mirror_page(s: World, channel: Expr[Channel], page: Expr[Page]) -> None:
    """A landed page is copied from the cache to the guest if that was latched; a zero page is cleared in the guest, elided or not."""
    s.when(is_multifd(channel), s.channel_at[channel] == At.PROCESSING)
    s.when(s.packet[channel, page].within(Carried.NORMAL_LANDED, Carried.ZERO_LANDED))
    content = where(s.packet[channel, page] == Carried.ZERO_LANDED, ZERO, s.cache[page])
    s.guest[page] = where(s.mirror[channel], content, s.guest[page])
    s.packet[channel, page] = Carried.NOTHING


@rules.rule(Step.PACKET_DONE, by=Actor.RECEIVER, source="migration/multifd.c:multifd_recv_thread")
def packet_done(s: World, channel: Expr[Channel]) -> None:
    """Nothing of the packet is left: the next header may come. The main channel never gets here: its record ends with its page."""
    s.when(s.channel_at[channel] == At.PROCESSING, carries_nothing(s, channel))
    s.channel_at[channel] = At.READY


@rules.rule(
    Step.PARK,
    by=Actor.RECEIVER,
    source="migration/multifd.c:multifd_recv_thread, sem_sync",
    question="question.channel-mutex",
)
def park(s: World, channel: Expr[Channel]) -> None:
    """SYNC was read: the thread waits for the main thread. It reads nothing of the next round before it is released."""
    s.when(is_multifd(channel), s.channel_at[channel] == At.READY, carries_nothing(s, channel), is_receiving(s))
    s.channel_at[channel] = At.PARKED


@rules.rule(Step.RELEASE, by=Actor.RECEIVER, source="migration/multifd.c:multifd_recv_sync_main")
def release(s: World) -> None:
    """A round ends: every multifd channel is parked, the main channel is between records, and all go on.

    It happens at MULTIFD_FLUSH or, where there is no multifd channel, at the end of a section.
    QEMU's older way, multifd-flush-after-each-section, where the end of a section releases multifd channels too, is left out.
    """
    s.when(is_receiving(s), every(Channel)(lambda c: is_multifd(c) >> (s.channel_at[c] == At.PARKED)))
    s.when(every(Channel)(lambda c: is_multifd(c) | (s.channel_at[c] == At.READY) & carries_nothing(s, c)))
    s.channel_at[:] = lambda _c: At.READY
    s.sent[:] = False


@rules.rule(Step.EXIT, by=Actor.ENVIRONMENT, source="migration/multifd.c:multifd_recv_terminate_threads")
def exit_thread(s: World, channel: Expr[Channel]) -> None:
    """A receive thread ends, by error, shutdown or end of stream: at any micro-step, between payload and processing too."""
    s.when(s.channel_at[channel] != At.EXITED, s.phase != Phase.SETUP)
    s.channel_at[channel] = At.EXITED
