"""Who changes the content of memory, and when: no step does it otherwise."""

from typing import Final

from colofd.spec.both_sides import BothSides, PrimaryAt
from colofd.spec.language import Expr, some
from colofd.spec.state import MAIN, ZERO, At, Carried, Channel, Page, Phase, World
from colofd.spec.steps.books import steps, steps_of_both

_LANDED: Final = (Carried.NORMAL_LANDED, Carried.ZERO_LANDED)
_RUNS: Final = (PrimaryAt.PRECOPY, PrimaryAt.RUNNING, PrimaryAt.REQUESTED)


def _is_read(now: World, page: Expr[Page], is_cleared: Expr[bool]) -> Expr[bool]:
    def reads(c: Expr[Channel]) -> Expr[bool]:
        return (now.packet[c, page] == Carried.NORMAL) | (now.packet[c, page] == Carried.ZERO) & is_cleared

    return some(Channel)(lambda c: (now.channel_at[c] == At.BODY) & reads(c))


@steps.claim("write.cache", source="migration/multifd-nocomp.c:multifd_nocomp_recv; ram.c:ram_load_precopy")
def cache_is_written(now: World, then: World, page: Expr[Page]) -> Expr[bool]:
    """The cache changes where a packet with this page is being read, as zeros if it came so, and where the main channel mirrors it."""
    mirrors = (now.channel_at[MAIN] == At.PROCESSING) & now.packet[MAIN, page].within(*_LANDED) & (then.cache[page] == now.guest[page])
    return (now.cache[page] == then.cache[page]) | _is_read(now, page, then.cache[page] == ZERO) | mirrors


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
