"""Who changes the content of memory, and when: no step does it otherwise."""

from typing import Final

from colofd.spec.both_sides import BothSides, PrimaryAt
from colofd.spec.language import Expr, some
from colofd.spec.state import MAIN, ZERO, At, Carried, Channel, Page, Phase, World, is_multifd, lands_in_guest
from colofd.spec.steps.books import steps, steps_of_both

_LANDED: Final = (Carried.NORMAL_LANDED, Carried.ZERO_LANDED)
_RUNS: Final = (PrimaryAt.PRECOPY, PrimaryAt.RUNNING, PrimaryAt.REQUESTED)


def _reads(now: World, channel: Expr[Channel], page: Expr[Page], is_cleared: Expr[bool]) -> Expr[bool]:
    carried = now.packet[channel, page]
    return (now.channel_at[channel] == At.BODY) & ((carried == Carried.NORMAL) | (carried == Carried.ZERO) & is_cleared)


@steps.claim("write.cache", source="migration/multifd-nocomp.c:multifd_nocomp_recv; ram.c:ram_load_precopy")
def cache_is_written(now: World, then: World, page: Expr[Page]) -> Expr[bool]:
    """The cache changes where a packet with this page is being read, as zeros if it came so, and where the main channel mirrors it."""
    is_zero = then.cache[page] == ZERO
    reads = some(Channel)(lambda c: ~lands_in_guest(now, c) & _reads(now, c, page, is_zero))
    mirrors = (now.channel_at[MAIN] == At.PROCESSING) & now.packet[MAIN, page].within(*_LANDED) & (then.cache[page] == now.guest[page])
    return (now.cache[page] == then.cache[page]) | reads | mirrors


@steps.claim("write.guest", source="migration/multifd-colo.c:multifd_colo_process_recv; ram.c:ram_load_precopy, colo_flush_ram_cache")
def guest_is_written(now: World, then: World, page: Expr[Page]) -> Expr[bool]:
    """The guest changes where it runs, in a flush or fill, where a channel reads into it, and where a latched packet is mirrored."""

    def mirrors(c: Expr[Channel]) -> Expr[bool]:
        return is_multifd(c) & now.mirror[c] & (now.channel_at[c] == At.PROCESSING) & now.packet[c, page].within(*_LANDED)

    writes = now.guest_running & then.own_dirty[page]
    flushes = now.phase.within(Phase.FILLING, Phase.FLUSHING) & now.peer_dirty[page] & (then.guest[page] == now.cache[page])
    is_zero = then.guest[page] == ZERO
    reads = some(Channel)(lambda c: lands_in_guest(now, c) & _reads(now, c, page, is_zero))
    return (now.guest[page] == then.guest[page]) | writes | flushes | reads | some(Channel)(mirrors)


@steps.claim("write.dirty", source="migration/multifd-colo.c:multifd_colo_prepare_recv; ram.c:colo_record_bitmap, colo_flush_ram_cache")
def dirty_is_recorded(now: World, then: World, page: Expr[Page]) -> Expr[bool]:
    """A page is recorded dirty where a header that names it is accepted, and for a flush if the secondary has written it."""

    def is_prepared(c: Expr[Channel]) -> Expr[bool]:
        return (now.channel_at[c] == At.READY) & (then.channel_at[c] == At.BODY) & (now.packet[c, page] != Carried.NOTHING)

    joins = now.own_dirty[page] & (then.phase == Phase.FLUSHING)
    return (now.peer_dirty[page] | ~then.peer_dirty[page]) | some(Channel)(is_prepared) | joins


@steps.claim("write.primary", source="migration/ram.c:migration_bitmap_sync")
def primary_is_written(now: World, then: World, page: Expr[Page]) -> Expr[bool]:
    """The primary's RAM changes only while pages may have to be sent again; before the start and after an end nobody asks for it."""
    return (now.primary[page] == then.primary[page]) | now.phase.within(Phase.PRECOPY, Phase.IDLE, Phase.RECEIVING)


# Both sides.


@steps_of_both.claim("write.primary-runs", source="migration/colo.c:colo_do_checkpoint_transaction, vm_stop_force_state")
def primary_writes_while_it_runs(now: BothSides, then: BothSides, page: Expr[Page]) -> Expr[bool]:
    """RAM and devices of the primary change only while its guest runs. What it does alone, after its own failover, nobody here sees."""
    is_same = (now.primary[page] == then.primary[page]) & (now.primary_device == then.primary_device)
    return is_same | now.primary_at.within(*_RUNS)


@steps_of_both.claim("write.guest-device", source="migration/savevm.c:qemu_load_device_state")
def guest_device_is_written(now: BothSides, then: BothSides) -> Expr[bool]:
    """The devices of the secondary's guest change while it runs, and where it starts or goes on from a checkpoint."""
    starts = ~now.guest_running & then.guest_running
    return (now.guest_device == then.guest_device) | now.guest_running | starts
