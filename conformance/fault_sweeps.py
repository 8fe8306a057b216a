"""Migrations in which each thing that can fail does so at each of its moments: one run for each."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from colofd.conformance.fault_kinds import Fault, Kind
from colofd.conformance.fault_script import Put
from colofd.conformance.faults import Reached, drawn_script, run_fault
from colofd.spec.constants import MAIN_CHANNEL, channel_name

SWEPT: Final = (5, 12, 23, 50, 54)
"""Drawn migrations: precopy alone; COLO on one or two channels, mirrored at once or deferred, ended by failover or close."""
CHANNELS: Final = 2
CUTS: Final = 12
"""In how many places a connection is cut in each piece of what is said on it."""
LAST: Final = 20
"""After so many moments in a row that have not come, there are no more."""


def moments() -> Iterator[Fault]:
    """Yield the kinds of faults that have moments, at their first one: micro-steps of a thread or of all, reads, what is asked for."""
    for channel in (MAIN_CHANNEL, *map(channel_name, range(CHANNELS))):
        yield Fault(Kind.KILL, channel)
    for kind in (Kind.INTERRUPT, Kind.NO_RECEIVE, Kind.NO_BUFFER, Kind.NO_CACHE, Kind.NO_THREAD):
        yield Fault(kind)


def sweep(number: int, fault: Fault, reached: Reached) -> list[str]:
    """Run drawn migration `number` with a fault at its first moment, its second one, and so on; return what is wrong."""
    wrong: list[str] = []
    count = missed = 0
    while missed < LAST:
        felt = reached.felt[fault.kind]
        wrong += run_fault(number, reached, Fault(fault.kind, fault.channel, count=count))
        missed = 0 if reached.felt[fault.kind] > felt else missed + 1
        count += 1
    return wrong


def cut_everywhere(number: int, reached: Reached) -> list[str]:
    """Run drawn migration `number` with a connection cut in and between all pieces of what is said on it; return what is wrong."""
    wrong: list[str] = []
    said: Counter[str] = Counter()
    for action in drawn_script(number).actions:
        if isinstance(action, Put):
            size = len(action.content)
            for at in range(0, size, max(1, size // CUTS)):
                wrong += run_fault(number, reached, Fault(Kind.CUT, action.channel, said[action.channel] + at))
            said[action.channel] += size
    return wrong
