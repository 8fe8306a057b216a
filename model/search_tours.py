"""Transition tours: runs that together take every rule in every situation, to be used as schedules of a test.

The situation of a step is what its rule can see without looking at contents or elsewhere: every cell without a key, the cells of the
step's own channel, page, message and device state, and whether the channel is the main one.
What pages contain, and ghosts, are no part of it.
A tour of situations takes every rule in each of its situations at least once; a tour of steps takes every step in every state.
A step that changes nothing is left out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

import numpy as np
import numpy.typing as npt

from colofd.model.finite import Instance, Place, State, Step
from colofd.model.finite_slices import MAIN_NUMBER
from colofd.model.search_graph import Graph, Numbers
from colofd.spec.both_sides import DeviceState
from colofd.spec.language import Sort
from colofd.spec.state import Channel, Value

_CONTENTS: Final[tuple[Sort, ...]] = (Value, DeviceState)
"""Sorts of what is copied and compared only."""


class Cover(Enum):
    """What a tour takes at least once."""

    SITUATIONS = "situations"
    STEPS = "steps"


@dataclass(frozen=True)
class TourRun:
    """One run of a tour: a state, and the steps that are taken from it on."""

    initial: State
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Tour:
    """Runs that together take everything of `cover`, of which there are `covered`."""

    cover: Cover
    covered: int
    runs: tuple[TourRun, ...]

    @property
    def steps(self) -> int:
        """Return the number of steps of all runs."""
        return sum(len(run.steps) for run in self.runs)


def tour(whole: Graph, cover: Cover) -> Tour:
    """Return a tour of a graph: each run goes to the deepest thing that is left, and on to the nearest one while there is any."""
    labels = np.arange(whole.source.size) if cover is Cover.STEPS else situations(whole)
    walker = _Walker(whole, labels)
    runs = tuple(walker.runs())
    return Tour(cover, int(labels.max(initial=-1)) + 1, runs)


def situations(whole: Graph) -> Numbers:
    """Return for each edge the number of its rule's situation: numbers from 0 on, without gaps."""
    labels = np.empty(whole.source.size, np.int64)
    known: dict[tuple[str, bool, tuple[int, ...]], int] = {}
    rules = whole.instance.steps
    for number in np.unique(whole.step):
        edges = np.flatnonzero(whole.step == number)
        own = dict(zip((parameter.sort for parameter in rules[number].rule.parameters), rules[number].arguments, strict=True))
        seen = [slot for slot, place in enumerate(whole.instance.places) if _is_seen(whole.instance, place, own)]
        is_main = own.get(Channel) == MAIN_NUMBER
        states = whole.states[:, whole.source[edges]]
        columns = np.array([whole.packing.column(states, slot) for slot in seen], np.uint8)
        distinct, inverse = np.unique(columns, axis=1, return_inverse=True)
        names = [known.setdefault((rules[number].rule.id, is_main, tuple(column)), len(known)) for column in distinct.T.tolist()]
        labels[edges] = np.array(names)[inverse.reshape(-1)]
    return labels


def _is_seen(instance: Instance, place: Place, own: dict[Sort, int]) -> bool:
    key, sort = instance.sorts(place)
    is_ghost = getattr(instance.spec.state, place.cell).is_ghost
    return not is_ghost and sort not in _CONTENTS and all(own.get(each) == member for each, member in zip(key, place.key, strict=True))


class _Walker:
    """Takes runs until nothing is left."""

    def __init__(self, whole: Graph, labels: Numbers) -> None:
        self._graph = whole
        self._labels = labels
        self._is_left: npt.NDArray[np.bool_] = np.ones(int(labels.max(initial=-1)) + 1, np.bool_)
        self._visited = np.zeros(whole.states.shape[1], np.int64)
        self._search = 0

    def runs(self) -> Iterator[TourRun]:
        # Edges are in the order of depth: the last one that is left has the longest way to it, which takes much else.
        for edge in range(self._labels.size - 1, -1, -1):
            if self._is_left[self._labels[edge]]:
                yield self._run(edge)

    def _run(self, edge: int) -> TourRun:
        edges = self._way_to(edge)
        self._is_left[self._labels[edges]] = False
        more: Sequence[int] = edges
        while more:
            more = self._nearest(int(self._graph.target[edges[-1]]))
            self._is_left[self._labels[more]] = False
            edges += more
        first = self._graph.states[:, self._graph.source[edges[:1]]]
        steps = self._graph.instance.steps
        return TourRun(self._graph.packing.unpack(first)[0], tuple(steps[number] for number in self._graph.step[edges]))

    def _way_to(self, edge: int) -> list[int]:
        """Return the edges of a shortest run that ends with this one."""
        edges = [edge]
        while (before := int(self._graph.parent[self._graph.source[edges[-1]]])) >= 0:
            edges.append(before)
        return edges[::-1]

    def _nearest(self, state: int) -> list[int]:
        """Return the edges of a shortest way from a state to something that is left and takes it; none if there is no such way."""
        self._search += 1
        self._visited[state] = self._search
        layers: list[tuple[Numbers, Numbers]] = []
        level = np.array([state])
        while level.size:
            edges = self._graph.edges_of(level)
            hits = np.flatnonzero(self._is_left[self._labels[edges]])
            if hits.size:
                return self._back(layers, int(edges[hits[0]]))
            new = edges[self._visited[self._graph.target[edges]] != self._search]
            level, which = np.unique(self._graph.target[new], return_index=True)
            self._visited[level] = self._search
            layers.append((level, new[which]))
        return []

    def _back(self, layers: list[tuple[Numbers, Numbers]], edge: int) -> list[int]:
        edges = [edge]
        for states, reached_by in reversed(layers):
            edges.append(int(reached_by[np.searchsorted(states, self._graph.source[edges[-1]])]))
        return edges[::-1]
