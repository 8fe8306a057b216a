"""What is seen of a rule in every reachable state of a small instance: the facts that the drawings show."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from colofd.model.finite import Instance, Step
from colofd.model.search_graph import Graph, graph

Held = npt.NDArray[np.uint8]


class Seen:
    """All states and steps of an instance."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self._slots = {(place.cell, place.key): slot for slot, place in enumerate(instance.places)}

    @cached_property
    def _graph(self) -> Graph:
        return graph(self.instance)

    def held(self, cell: str, *key: int) -> Held | None:
        """Return what a cell holds in each state, or None if that never changes in this slice."""
        slot = self._slots.get((cell, key))
        return None if slot is None else self._graph.packing.column(self._graph.states, slot)

    def steps(self) -> Iterator[tuple[Step, npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
        """Yield each step that is ever taken and changes anything, and the numbers of the states before and after it."""
        order = np.argsort(self._graph.step, kind="stable")
        bounds = np.searchsorted(self._graph.step[order], np.arange(len(self.instance.steps) + 1))
        for number, step in enumerate(self.instance.steps):
            edges = order[bounds[number] : bounds[number + 1]]
            if edges.size:
                yield step, self._graph.source[edges], self._graph.target[edges]


def pairs(before: npt.NDArray[Any], after: npt.NDArray[Any]) -> set[tuple[int, int]]:
    """Return the different pairs of values of two columns."""
    return {(int(old), int(new)) for old, new in np.unique(np.stack([before, after]), axis=1).T}
