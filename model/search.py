"""Exploration of a finite instance: all states, every clause on each of them, and where nothing can happen any more."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from colofd.model.finite import Instance, State
from colofd.model.finite_numpy import Evaluated
from colofd.model.finite_terms import Term
from colofd.model.search_states import Levels, Possible
from colofd.spec.both_sides import BothSides, PrimaryAt
from colofd.spec.language import every
from colofd.spec.state import At, Channel, Phase, World

_NO_PROGRESS: Final = ("guest.", "fault.")
"""Rules of these groups do not count as going on: what running guests do of their own, and faults."""

Progress = Callable[[int, int, int], None]
"""Is told the depth, how many states were seen, and how many of them are to be expanded next."""


@dataclass
class Exploration:
    """What there is in an instance.

    `violations` gives for each clause that is broken the least depth of it, `taken` for each rule the length of a shortest run with it.
    `ends` counts, for each phase, states in which nothing can happen but faults, and what running guests do of their own; `stuck` counts
    those in which the migration has not properly ended: some thread has not, memory is still allocated, or the primary waits.
    """

    states: int = 0
    representatives: int = 0
    edges: int = 0
    depth: int = 0
    seconds: float = 0.0
    violations: dict[str, int] = field(default_factory=dict)
    taken: dict[str, int] = field(default_factory=dict)
    ends: Counter[str] = field(default_factory=Counter)
    stuck: int = 0

    @property
    def states_per_second(self) -> int:
        """How many states were expanded in a second."""
        return round(self.representatives / max(self.seconds, 1e-9))


def explore(
    instance: Instance,
    *,
    symmetric: bool = False,
    memory: int | None = None,
    initial: Iterable[State] | None = None,
    progress: Progress = lambda _depth, _seen, _next: None,
) -> Exploration:
    """Visit every reachable state.

    Args:
        instance: what is explored.
        symmetric: visit one of the states that differ in the order of pages and channels only; the counts are those of all states.
        memory: bytes that the set of states may take; TooLarge if they do not suffice.
        initial: where to begin; None for all initial states.
        progress: is called before each level.
    """
    begin = time.perf_counter()
    audit = _Audit(instance)
    levels = Levels(instance, audit.watched, symmetric=symmetric, memory=memory, initial=initial)
    found = audit.found
    while levels.level.shape[1]:
        progress(levels.depth, levels.seen.count, levels.level.shape[1])
        found.depth = levels.depth
        for evaluated in levels.chunks():
            size = evaluated.states.shape[1]
            multiplicity = np.ones(size, np.int64) if levels.symmetry is None else levels.symmetry.multiplicity(evaluated.states)
            audit.look(evaluated, levels.expand(evaluated), multiplicity, levels.depth)
        levels.advance()
    found.representatives = levels.seen.count
    found.seconds = time.perf_counter() - begin
    return found


class _Audit:
    """What is looked at in every state."""

    def __init__(self, instance: Instance) -> None:
        self.found = Exploration()
        self._instance = instance
        self._has_ended = _has_ended(instance)
        self._phases = {phase.name: instance.term(World().phase == phase, {}) for phase in Phase}
        self.watched: Sequence[Term] = (*instance.clauses.values(), self._has_ended, *self._phases.values())

    def look(self, evaluated: Evaluated, possible: Sequence[Possible], multiplicity: npt.NDArray[np.int64], depth: int) -> None:
        """Look at some states, the steps that are possible in them, and how many states each of them stands for."""
        found = self.found
        found.states += int(multiplicity.sum())
        for identifier, term in self._instance.clauses.items():
            if not evaluated.columns[term].all():
                found.violations.setdefault(identifier, depth)
        goes_on = np.zeros(multiplicity.size, np.bool_)
        for number, where in possible:
            rule = self._instance.steps[number].rule
            found.taken.setdefault(rule.id, depth + 1)
            found.edges += int(multiplicity.take(where).sum())
            if not rule.id.startswith(_NO_PROGRESS):
                goes_on[where] = True
        if not goes_on.all():
            self._count_ends(evaluated, ~goes_on, multiplicity)

    def _count_ends(self, evaluated: Evaluated, is_end: npt.NDArray[np.bool_], multiplicity: npt.NDArray[np.int64]) -> None:
        self.found.stuck += int(multiplicity[is_end & ~evaluated.columns[self._has_ended]].sum())
        for name, term in self._phases.items():
            count = int(multiplicity[is_end & evaluated.columns[term]].sum())
            if count:
                self.found.ends[name] += count


def _has_ended(instance: Instance) -> Term:
    """Return the truth that the migration is done: a last phase, all threads gone, all memory released, a primary that does not wait."""
    s = BothSides()
    is_over = s.phase.within(Phase.FAILOVER, Phase.STOPPED, Phase.COMPLETED, Phase.FAILED) & ~s.cache_allocated & ~s.receivedmap_allocated
    has_ended = is_over & every(Channel)(lambda c: s.channel_at[c] == At.EXITED)
    if issubclass(instance.spec.state, BothSides):
        has_ended &= s.primary_at.within(PrimaryAt.PRECOPY, PrimaryAt.ALONE, PrimaryAt.DEAD)
    return instance.term(has_ended, {})
