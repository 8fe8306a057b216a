"""The states of a finite instance, found level after level."""

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from colofd.model.finite import Instance, State
from colofd.model.finite_numpy import Evaluated, Reading, States
from colofd.model.finite_terms import TRUE, Term
from colofd.model.search_symmetry import Symmetry
from colofd.model.search_table import StateSet

CHUNK: Final = 1 << 14
"""States that are expanded together: what is computed for them stays in the processor's cache."""

Possible = tuple[int, npt.NDArray[np.intp]]
"""The number of a step, and in which states it is possible."""


class Levels:
    """Breadth-first search. `level` holds the states whose shortest runs have `depth` steps.

    Args:
        instance: whose states.
        watched: truths that are evaluated in each state.
        symmetric: keep one of the states that differ in the order of pages and channels only.
        memory: bytes that the set of states may take; None for no limit.
        initial: where to begin; None for all initial states.
    """

    def __init__(
        self,
        instance: Instance,
        watched: Iterable[Term],
        *,
        symmetric: bool = False,
        memory: int | None = None,
        initial: Iterable[State] | None = None,
    ) -> None:
        self.reading = Reading(instance, watched)
        self.symmetry = Symmetry(instance, self.reading.packing) if symmetric else None
        self.seen = StateSet(self.reading.packing.words, memory=memory)
        self.depth = 0
        self._next: list[States] = []
        self._add(self.reading.packing.pack(instance.initial_states() if initial is None else initial))
        self.level = self._take_next()

    def chunks(self) -> Iterator[Evaluated]:
        """Yield the states of this level, some thousands at a time, evaluated."""
        return (self.reading.begin(states) for states in chunks(self.level))

    def expand(self, evaluated: Evaluated) -> list[Possible]:
        """Add all successors of some states to the next level, and return which steps lead there."""
        possible: list[Possible] = []
        added: list[States] = []
        for number, where, states in self.reading.successors(evaluated):
            possible.append((number, where))
            if self.reading.instance.steps[number].guard is TRUE:
                # What is always possible, as the loss of a message, changes nothing in most states.
                added.append(states[:, (states != evaluated.states.take(where, axis=1)).any(axis=0)])
            else:
                added.append(states)
        if added:
            self._add(np.concatenate(added, axis=1))
        return possible

    def advance(self) -> None:
        """Go on to the next level."""
        self.level = self._take_next()
        self.depth += 1

    def _add(self, states: States) -> None:
        if self.symmetry is not None:
            states = self.symmetry.least(states)
        self._next.append(states.take(self.seen.add(states), axis=1))

    def _take_next(self) -> States:
        level = np.concatenate(self._next, axis=1) if self._next else self.level[:, :0]
        self._next = []
        return level


def chunks(states: States) -> Iterator[States]:
    """Yield states, some thousands at a time."""
    return (states[:, begin : begin + CHUNK] for begin in range(0, states.shape[1], CHUNK))
