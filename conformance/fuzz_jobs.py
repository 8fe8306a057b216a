"""Long searches for damage, in several processes: stretches of inputs, each a search of its own with a seed of its own.

What is drawn, and what it comes to, is the same for any number of processes.
"""

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Final

from colofd.conformance.fuzz_search import Reached, Search

STRETCH: Final = 25_000
"""Inputs of one search: half a minute."""
SHOWN: Final = 20
"""How many findings are kept."""


@dataclass
class Found:
    """What searches have come to together, and the first findings."""

    reached: Reached = field(default_factory=Reached)
    wrong: list[str] = field(default_factory=list)

    def add(self, other: "Found") -> None:
        """Count in what another search has come to."""
        self.reached.add(other.reached)
        self.wrong = (self.wrong + other.wrong)[:SHOWN]


def search(count: int, seed: int, jobs: int, progress: Callable[[Found], None]) -> Found:
    """Try `count` inputs in `jobs` processes; `progress` is called after each stretch.

    An interruption (SIGINT) ends it early: the stretches that have begun are ended in other processes, and left out in this one.
    """
    total = Found()
    stretches = [(seed + number, min(STRETCH, count - begin)) for number, begin in enumerate(range(0, count, STRETCH))]
    try:
        for found in _here(stretches) if min(jobs, len(stretches)) == 1 else _elsewhere(stretches, jobs):
            total.add(found)
            progress(total)
    except KeyboardInterrupt:
        pass
    return total


def _stretch(seed: int, count: int) -> Found:
    wrong: list[str] = []
    one = Search(seed, wrong.append)
    one.run(count)
    return Found(one.reached, wrong[:SHOWN])


def _here(stretches: list[tuple[int, int]]) -> Iterator[Found]:
    for seed, count in stretches:
        yield _stretch(seed, count)


def _elsewhere(stretches: list[tuple[int, int]], jobs: int) -> Iterator[Found]:
    """Yield what each stretch comes to, in the order in which they end. A process that dies: BrokenProcessPool."""
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _leave_interruptions) as pool:
        waiting = {pool.submit(_stretch, *stretch) for stretch in stretches}
        try:
            for ended in as_completed(waiting):
                waiting.remove(ended)
                yield ended.result()
        except KeyboardInterrupt:
            begun = [each for each in waiting if not each.cancel()]
            for ended in as_completed(begun):
                yield ended.result()
        finally:
            # Whoever asks for no more need not wait for those that have not begun.
            for each in waiting:
                each.cancel()


def _leave_interruptions() -> None:
    """Let the first process be the one that an interruption ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
