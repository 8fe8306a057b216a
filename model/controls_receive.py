"""Known mistakes of receiving: the latch, the dirty bitmap, zero pages, the receivedmap, the mirror."""

from collections.abc import Callable

from colofd.model.controls_declared import Shows, of_receive_path
from colofd.model.finite import Sizes
from colofd.model.proof_obligations import Kind
from colofd.spec.constants import Step
from colofd.spec.language import Expr, every, where
from colofd.spec.rules.receive import land
from colofd.spec.state import (
    MAIN,
    ZERO,
    At,
    Carried,
    Channel,
    Page,
    Phase,
    Value,
    World,
    carries_nothing,
    is_in_colo,
    is_multifd,
    is_receiving,
    lands_in_guest,
)

controls = of_receive_path()

_LANDED = (Carried.NORMAL_LANDED, Carried.ZERO_LANDED)
_MAIN_ONLY = Sizes(0, 1, 2)


# The latch.


@controls.wrong(
    "mirror decided again",
    Step.MIRROR,
    must_fail=("receive.mirror keeps isolation.guest", "receive.mirror leaves the guest"),
    shows=Shows("isolation.guest"),
    source="migration/multifd-colo.c:multifd_colo_process_recv; observed on 11.1.3 (docs/latch.md)",
)
def _mirror_decided_again(s: World, channel: Expr[Channel], page: Expr[Page]) -> None:
    """Whether to mirror is asked again when the page is processed, as QEMU does: failover may have come in between."""
    s.when(is_multifd(channel), s.channel_at[channel] == At.PROCESSING)
    s.when(s.packet[channel, page].within(*_LANDED))
    content = where(s.packet[channel, page] == Carried.ZERO_LANDED, ZERO, s.cache[page])
    s.guest[page] = where(s.colo & ~s.deferred & ~is_in_colo(s), content, s.guest[page])
    s.packet[channel, page] = Carried.NOTHING


def _prepare(s: World, channel: Expr[Channel], is_mirrored: Expr[bool], is_recorded: Callable[[Expr[Page]], Expr[bool]]) -> None:
    s.when(is_multifd(channel), s.channel_at[channel] == At.READY)
    s.channel_at[channel] = At.BODY
    s.mirror[channel] = s.colo & ~s.deferred & is_mirrored
    s.peer_dirty[:] = lambda q: s.peer_dirty[q] | is_recorded(q)


def _recorded(s: World, channel: Expr[Channel]) -> Callable[[Expr[Page]], Expr[bool]]:
    """As the rule has it: in COLO, or with the deferred mirror, every page of the packet."""
    is_time = (s.phase == Phase.RECEIVING) | s.colo & s.deferred
    return lambda q: is_time & (s.packet[channel, q] != Carried.NOTHING)


def _is_late(s: World) -> Expr[bool]:
    """Return whether a thread that was not stopped may still read a header."""
    return is_receiving(s) | s.phase.within(Phase.FAILOVER, Phase.STOPPED)


@controls.wrong(
    "late packet latched outside COLO",
    Step.PREPARE,
    must_fail=("receive.prepare keeps receive.latched",),
    shows=Shows("isolation.guest"),
    source="a repair of the latch that is not enough; its window was observed on 11.1.3 (docs/latch.md)",
)
def _prepare_late_outside_colo(s: World, channel: Expr[Channel]) -> None:
    """A packet is prepared by a thread that failover did not stop, and "not in COLO state" is latched, which is true again by then."""
    s.when(_is_late(s))
    _prepare(s, channel, ~is_in_colo(s), _recorded(s, channel))


@controls.harmless(
    "late packet latched by the phase",
    Step.PREPARE,
    source="colofd: why the latch reads a phase that never comes back",
)
def _prepare_late(s: World, channel: Expr[Channel]) -> None:
    """The same thread, but the latch reads the phase that never comes back."""
    s.when(_is_late(s))
    _prepare(s, channel, s.phase == Phase.PRECOPY, _recorded(s, channel))


# The dirty bitmap.


@controls.wrong(
    "zero pages not recorded",
    Step.PREPARE,
    must_fail=("receive.prepare keeps receive.recorded",),
    shows=Shows(Kind.COMMIT),
    source="versions 1 and 2 of the series for multifd and COLO: only normal[] was recorded (review of 2026-01-20)",
)
def _prepare_without_zero_pages(s: World, channel: Expr[Channel]) -> None:
    """Zero pages of a checkpoint are not recorded in the dirty bitmap."""
    s.when(is_receiving(s))
    is_time = (s.phase == Phase.RECEIVING) | s.colo & s.deferred
    _prepare(s, channel, s.phase == Phase.PRECOPY, lambda q: is_time & (s.packet[channel, q] == Carried.NORMAL))


@controls.wrong(
    "nothing recorded",
    Step.PREPARE,
    must_fail=("receive.prepare keeps receive.recorded",),
    shows=Shows(Kind.COMMIT),
    source='turned round: "ram/colo: only record bitmap of dirty pages in COLO stage" (5.0)',
)
def _prepare_unrecorded(s: World, channel: Expr[Channel]) -> None:
    """No page of a packet is recorded in the dirty bitmap."""
    s.when(is_receiving(s))
    _prepare(s, channel, s.phase == Phase.PRECOPY, lambda q: (s.packet[channel, q] != Carried.NOTHING) & (s.phase == Phase.SETUP))


@controls.wrong(
    "recorded always",
    Step.PREPARE,
    must_fail=("receive.prepare keeps mirror.clean-precopy",),
    shows=Shows("mirror.clean-precopy"),
    source='before "ram/colo: only record bitmap of dirty pages in COLO stage" (5.0): the first flush copies everything',
)
def _prepare_recorded_always(s: World, channel: Expr[Channel]) -> None:
    """Pages of precopy are recorded too: the first flush is longer, and right."""
    s.when(is_receiving(s))
    _prepare(s, channel, s.phase == Phase.PRECOPY, lambda q: s.packet[channel, q] != Carried.NOTHING)


# Zero pages.


def _zero_page(s: World, channel: Expr[Channel], page: Expr[Page], is_elided: Expr[bool]) -> None:
    s.when(is_multifd(channel), s.channel_at[channel] == At.BODY, s.packet[channel, page] == Carried.ZERO)
    buffer = where(s.colo, s.cache[page], s.guest[page])
    land(s, channel, page, where(is_elided, buffer, ZERO))
    s.packet[channel, page] = Carried.ZERO_LANDED


@controls.wrong(
    "elision always",
    Step.ZERO_PAGE,
    must_fail=("receive.zero-page keeps receive.landed-content",),
    shows=Shows("receive.clean-page-arrived"),
    source="ours: commit 5ef7e26bdb (9.1) without its question",
)
def _zero_page_always_elided(s: World, channel: Expr[Channel], page: Expr[Page]) -> None:
    """A zero page is never written to the buffer, whatever has arrived before."""
    _zero_page(s, channel, page, (s.phase == Phase.PRECOPY) | (s.phase != Phase.PRECOPY))


@controls.wrong(
    "elision on a later arrival",
    Step.ZERO_PAGE,
    must_fail=("receive.zero-page keeps receive.landed-content",),
    shows=Shows("receive.clean-page-arrived"),
    source="ours: commit 5ef7e26bdb (9.1) with its question turned round",
)
def _zero_page_elided_later(s: World, channel: Expr[Channel], page: Expr[Page]) -> None:
    """The receivedmap is read the wrong way round: the first zero page is written, a later one is not."""
    _zero_page(s, channel, page, s.received[page])


@controls.harmless("elision never", Step.ZERO_PAGE, source="before commit 5ef7e26bdb (9.1)")
def _zero_page_never_elided(s: World, channel: Expr[Channel], page: Expr[Page]) -> None:
    """Every zero page is written: slower, and right."""
    _zero_page(s, channel, page, (s.phase == Phase.PRECOPY) & (s.phase != Phase.PRECOPY))


@controls.wrong(
    "main channel elides",
    Step.MAIN_ZERO_PAGE,
    must_fail=("main.zero-page keeps receive.landed-content",),
    shows=Shows("receive.clean-page-arrived", "main-channel", _MAIN_ONLY),
    source="ours: the question of multifd-zero-page.c asked in ram.c; as observed on 11.1.3 where a destination is not zero",
)
def _main_elides(s: World, page: Expr[Page]) -> None:
    """The main channel elides by the receivedmap, as multifd does; but its buffer is guest RAM, which COLO does not want to be zero."""
    s.when(s.channel_at[MAIN] == At.BODY, s.packet[MAIN, page] == Carried.ZERO)
    buffer = where(lands_in_guest(s, MAIN), s.guest[page], s.cache[page])
    land(s, MAIN, page, where(s.received[page], ZERO, buffer))
    s.packet[MAIN, page] = Carried.ZERO_LANDED
    s.channel_at[MAIN] = At.PROCESSING


# The receivedmap.


def _land_unnoticed(s: World, channel: Expr[Channel], page: Expr[Page], value: Expr[Value]) -> None:
    """Put a page into its buffer without noting that it has arrived."""
    in_guest = lands_in_guest(s, channel)
    s.guest[page] = where(in_guest, value, s.guest[page])
    s.cache[page] = where(in_guest, s.cache[page], value)


@controls.wrong(
    "zero pages not noted as received",
    Step.ZERO_PAGE,
    must_fail=("receive.zero-page keeps receive.landed-where",),
    shows=Shows("receive.clean-page-arrived"),
    source="ours: commit 5ef7e26bdb (9.1) without its second half",
)
def _zero_page_unnoticed(s: World, channel: Expr[Channel], page: Expr[Page]) -> None:
    """The receivedmap does not learn of zero pages."""
    s.when(is_multifd(channel), s.channel_at[channel] == At.BODY, s.packet[channel, page] == Carried.ZERO)
    buffer = where(s.colo, s.cache[page], s.guest[page])
    _land_unnoticed(s, channel, page, where(s.received[page], ZERO, buffer))
    s.packet[channel, page] = Carried.ZERO_LANDED


@controls.wrong(
    "normal pages not noted as received",
    Step.READ_PAGE,
    must_fail=("receive.read-page keeps receive.landed-where", "receive.read-page keeps receive.untouched-buffer-zero"),
    shows=Shows("receive.clean-page-arrived"),
    source="ours: a zero page that follows is elided over old content",
)
def _read_page_unnoticed(s: World, channel: Expr[Channel], page: Expr[Page], value: Expr[Value]) -> None:
    """The receivedmap does not learn of pages with content."""
    s.when(is_multifd(channel), s.channel_at[channel] == At.BODY, s.packet[channel, page] == Carried.NORMAL)
    s.when((value == s.primary[page]) | s.unsent[page])
    _land_unnoticed(s, channel, page, value)
    s.packet[channel, page] = Carried.NORMAL_LANDED


@controls.wrong(
    "received only when complete",
    Step.READ_PART,
    must_fail=("receive.read-part keeps receive.untouched-buffer-zero",),
    shows=Shows("receive.untouched-buffer-zero"),
    source="ours: the bit is set after the payload, and a thread may die before",
)
def _read_part_unnoticed(s: World, channel: Expr[Channel], page: Expr[Page], value: Expr[Value]) -> None:
    """The receivedmap learns of a page only when all of it has arrived: a buffer that is not zero counts as untouched."""
    s.when(is_multifd(channel), s.channel_at[channel] == At.BODY, s.packet[channel, page] == Carried.NORMAL)
    _land_unnoticed(s, channel, page, value)


@controls.wrong(
    "initial buffer of anything",
    "initial",
    must_fail=("initially receive.untouched-buffer-zero",),
    shows=Shows("receive.clean-page-arrived"),
    source="a RAM file that is not zero; observed on 11.1.3: 3600 pages of garbage after a migration that says it has completed",
)
def _initial_buffer_of_anything(s: World) -> Expr[bool]:
    """The receive buffer holds anything at first."""
    is_fresh = every(Page)(lambda p: s.unsent[p] & ~s.sent[p] & ~s.received[p] & ~s.peer_dirty[p] & ~s.own_dirty[p])
    is_quiet = every(Channel)(lambda c: (s.channel_at[c] == At.READY) & ~s.mirror[c] & carries_nothing(s, c))
    return (s.phase == Phase.SETUP) & ~s.cache_allocated & ~s.receivedmap_allocated & ~s.guest_running & is_fresh & is_quiet


# The mirror.


@controls.wrong(
    "zero pages not mirrored",
    Step.MIRROR,
    must_fail=("receive.mirror keeps mirror.precopy",),
    shows=Shows("mirror.precopy"),
    source="versions 1 and 2 of the series for multifd and COLO: the guest kept its old bytes",
)
def _mirror_without_zero_pages(s: World, channel: Expr[Channel], page: Expr[Page]) -> None:
    """A zero page is cleared in the cache only, not in the guest."""
    s.when(is_multifd(channel), s.channel_at[channel] == At.PROCESSING)
    s.when(s.packet[channel, page].within(*_LANDED))
    is_copied = s.mirror[channel] & (s.packet[channel, page] == Carried.NORMAL_LANDED)
    s.guest[page] = where(is_copied, s.cache[page], s.guest[page])
    s.packet[channel, page] = Carried.NOTHING


@controls.wrong(
    "page copied before it is complete",
    Step.MIRROR,
    must_fail=("receive.mirror keeps receive.clean-page-arrived",),
    shows=Shows("receive.clean-page-arrived"),
    source='ours, at "COLO: Optimize memory back-up process" (0393031a1673, 5.0)',
)
def _mirror_early(s: World, channel: Expr[Channel], page: Expr[Page]) -> None:
    """A page is copied to the guest while its payload may still be on its way, and counts as done."""
    s.when(is_multifd(channel), s.channel_at[channel].within(At.BODY, At.PROCESSING))
    s.when(s.packet[channel, page].within(Carried.NORMAL, *_LANDED))
    content = where(s.packet[channel, page] == Carried.ZERO_LANDED, ZERO, s.cache[page])
    s.guest[page] = where(s.mirror[channel], content, s.guest[page])
    s.packet[channel, page] = Carried.NOTHING


@controls.wrong(
    "main channel mirrors no zero pages",
    Step.MAIN_MIRROR,
    must_fail=("main.mirror keeps mirror.precopy", "main.mirror keeps receive.clean-page-arrived"),
    shows=Shows("mirror.precopy", "main-channel", _MAIN_ONLY),
    source='ours, at "COLO: Optimize memory back-up process" (0393031a1673, 5.0): only page records were mirrored',
)
def _main_mirror_without_zero_pages(s: World, page: Expr[Page]) -> None:
    """A zero record is cleared in the guest only, not in the cache."""
    s.when(s.channel_at[MAIN] == At.PROCESSING)
    s.when(s.packet[MAIN, page].within(*_LANDED))
    is_copied = s.mirror[MAIN] & (s.packet[MAIN, page] == Carried.NORMAL_LANDED)
    s.cache[page] = where(is_copied, s.guest[page], s.cache[page])
    s.packet[MAIN, page] = Carried.NOTHING
    s.channel_at[MAIN] = At.READY


@controls.wrong(
    "main channel records nothing",
    Step.MAIN_PREPARE,
    must_fail=("main.prepare keeps receive.recorded",),
    shows=Shows(Kind.COMMIT, "main-channel", _MAIN_ONLY),
    source='turned round: "ram/colo: only record bitmap of dirty pages in COLO stage" (5.0)',
)
def _main_prepare_unrecorded(s: World) -> None:
    """A page of a checkpoint on the main channel is not recorded in the dirty bitmap."""
    s.when(s.channel_at[MAIN] == At.READY, is_receiving(s), ~carries_nothing(s, MAIN))
    s.channel_at[MAIN] = At.BODY
    s.mirror[MAIN] = s.colo & ~s.deferred & (s.phase == Phase.PRECOPY)


def _land_as_main(s: World, page: Expr[Page], value: Expr[Value]) -> None:
    """Put a page of the main channel into its buffer; note that it has arrived in precopy only."""
    _land_unnoticed(s, MAIN, page, value)
    s.received[page] = s.received[page] | s.phase.within(Phase.PRECOPY, Phase.COMPLETED, Phase.FAILED)


@controls.harmless(
    "main channel leaves the receivedmap alone in COLO",
    Step.MAIN_ZERO_PAGE,
    source="migration/ram.c:ram_load_precopy; multifd sets it always",
)
def _main_zero_page_unnoticed(s: World, page: Expr[Page]) -> None:
    """In COLO the receivedmap does not learn of pages of the main channel: every page has arrived by then."""
    s.when(s.channel_at[MAIN] == At.BODY, s.packet[MAIN, page] == Carried.ZERO)
    _land_as_main(s, page, ZERO)
    s.packet[MAIN, page] = Carried.ZERO_LANDED
    s.channel_at[MAIN] = At.PROCESSING


@controls.also(Step.MAIN_READ_PART)
def _main_read_part_unnoticed(s: World, page: Expr[Page], value: Expr[Value]) -> None:
    """As for zero records."""
    s.when(s.channel_at[MAIN] == At.BODY, s.packet[MAIN, page] == Carried.NORMAL)
    _land_as_main(s, page, value)


@controls.also(Step.MAIN_READ_PAGE)
def _main_read_page_unnoticed(s: World, page: Expr[Page], value: Expr[Value]) -> None:
    """As for zero records."""
    s.when(s.channel_at[MAIN] == At.BODY, s.packet[MAIN, page] == Carried.NORMAL)
    s.when((value == s.primary[page]) | s.unsent[page])
    _land_as_main(s, page, value)
    s.packet[MAIN, page] = Carried.NORMAL_LANDED
    s.channel_at[MAIN] = At.PROCESSING


@controls.supported("receive.all-arrived")
def _all_arrived(s: World) -> Expr[bool]:
    """From the end of precopy with COLO, every page has arrived at least once."""
    return every(Page)(lambda p: s.phase.within(Phase.SETUP, Phase.PRECOPY, Phase.COMPLETED, Phase.FAILED) | s.received[p])
