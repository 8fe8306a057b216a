"""The graph of an instance: every reachable state, and every step that changes it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from colofd.model.finite import Instance
from colofd.model.finite_numpy import Packing, States
from colofd.model.search_states import Levels, chunks
from colofd.model.search_table import TooLarge

Numbers = npt.NDArray[np.int64]

EDGE_BYTES = 40
"""What an edge takes while a graph is made."""


@dataclass(frozen=True)
class Graph:
    """States, in the order of their depth, and edges, in the order of the states that they leave.

    `source`, `target` and `step` have one entry for each edge: two states and a step of the instance, by their numbers.
    The edges of state N are those from `first[N]` to `first[N + 1]`. `parent` gives for each state the edge of a shortest run to it,
    or -1 for an initial state. A step that changes nothing is no edge.
    """

    instance: Instance
    packing: Packing
    states: States
    source: Numbers
    target: Numbers
    step: Numbers
    first: Numbers
    parent: Numbers

    def edges_of(self, states: Numbers) -> Numbers:
        """Return the edges that leave these states, state by state."""
        counts = self.first[states + 1] - self.first[states]
        ends = np.cumsum(counts)
        return np.repeat(self.first[states] - (ends - counts), counts) + np.arange(counts.sum())


def graph(instance: Instance, *, memory: int | None = None) -> Graph:
    """Return the graph of an instance; TooLarge if it takes more than so many bytes."""
    levels = Levels(instance, [], memory=memory)
    found = []
    edges = 0
    while levels.level.shape[1]:
        found.append(levels.level)
        for evaluated in levels.chunks():
            edges += sum(where.size for _, where in levels.expand(evaluated))
        if memory is not None and EDGE_BYTES * edges > memory:
            raise TooLarge(f"{edges:,} edges and more: {EDGE_BYTES * edges:,} bytes are needed to go on, {memory:,} are allowed")
        levels.advance()
    states = np.concatenate(found, axis=1)
    source, target, step = _edges(levels, states)
    first = np.searchsorted(source, np.arange(states.shape[1] + 1))
    parent = np.full(states.shape[1], -1)
    depth = np.repeat(np.arange(len(found)), [level.shape[1] for level in found])
    deeper = np.flatnonzero(depth[target] == depth[source] + 1)
    reached, where = np.unique(target[deeper], return_index=True)
    parent[reached] = deeper[where]
    return Graph(instance, levels.reading.packing, states, source, target, step, first, parent)


def _edges(levels: Levels, states: States) -> tuple[Numbers, Numbers, Numbers]:
    numbered = _Numbering(states)
    parts: list[tuple[Numbers, Numbers, Numbers]] = []
    done = 0
    for some in chunks(states):
        for number, where, after in levels.reading.successors(levels.reading.begin(some)):
            changes = (after != some[:, where]).any(axis=0)
            targets = numbered.of(after[:, changes])
            parts.append((where[changes] + done, targets, np.full(targets.size, number)))
        done += some.shape[1]
    source, target, step = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = np.argsort(source, kind="stable")
    return source[order], target[order], step[order]


class _Numbering:
    """The numbers of states: a state of several words is known by the rank of each."""

    def __init__(self, states: States) -> None:
        self._words = [np.unique(word) for word in states]
        ranks = self._ranks(states)
        self._order = np.argsort(ranks)
        self._sorted = ranks[self._order]

    def of(self, states: States) -> Numbers:
        """Return the numbers of known states."""
        return self._order[np.searchsorted(self._sorted, self._ranks(states))]

    def _ranks(self, states: States) -> Numbers:
        ranks = np.zeros(states.shape[1], np.int64)
        for known, word in zip(self._words, states, strict=True):
            ranks = ranks * known.size + np.searchsorted(known, word)
        return ranks
