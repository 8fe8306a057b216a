"""Tours: they take what they promise, by three readings of the specification, and their sizes are pinned."""

from typing import Any

import numpy as np
import pytest

from colofd.model.finite import Instance, Sizes, State, Step
from colofd.model.finite_slices import slice_of
from colofd.model.finite_terms import evaluate
from colofd.model.machine import Machine
from colofd.model.search import explore
from colofd.model.search_graph import Graph, graph
from colofd.model.search_table import TooLarge
from colofd.model.search_tours import Cover, Tour, situations, tour
from colofd.spec.both_sides import DeviceState, Message
from colofd.spec.language import Sort
from colofd.spec.state import Channel, Page, Value

TOURS = {
    ("core", Sizes(1, 1, 2), Cover.SITUATIONS): (293, 127, 2_554),
    ("core", Sizes(1, 1, 2), Cover.STEPS): (25_860, 10_836, 217_732),
    ("main-channel", Sizes(1, 1, 2), Cover.SITUATIONS): (417, 191, 3_895),
    ("both-sides", Sizes(1, 1, 2, 1), Cover.SITUATIONS): (1_086, 599, 14_400),
}
"""Things that are covered, runs, and steps of all runs."""


def graph_of(name: str, sizes: Sizes) -> Graph:
    part = slice_of(name)
    return graph(Instance(part.spec, part, sizes))


def covered(whole: Graph, found: Tour) -> set[int]:
    """Return what the runs of a tour take, each step repeated by the plain reading."""
    labels = situations(whole) if found.cover is Cover.SITUATIONS else np.arange(whole.source.size)
    numbers = {state: number for number, state in enumerate(whole.packing.unpack(whole.states))}
    by_ends = {(int(whole.source[edge]), int(whole.step[edge])): int(labels[edge]) for edge in range(whole.source.size)}
    of_step = {step: number for number, step in enumerate(whole.instance.steps)}
    taken = set()
    for run in found.runs:
        state = run.initial
        for step in run.steps:
            assert evaluate(step.guard, state), step.name
            taken.add(by_ends[numbers[state], of_step[step]])
            state = step.after(state)
    return taken


@pytest.mark.parametrize(("name", "sizes", "cover"), TOURS, ids=str)
def test_a_tour_takes_everything(name: str, sizes: Sizes, cover: Cover) -> None:
    """Given a small instance, then its tour is this large, begins in initial states, and takes everything that it promises."""
    whole = graph_of(name, sizes)
    found = tour(whole, cover)
    assert (found.covered, len(found.runs), found.steps) == TOURS[name, sizes, cover]
    assert {run.initial for run in found.runs} <= set(whole.instance.initial_states())
    assert covered(whole, found) == set(range(found.covered))


def test_a_tour_without_its_longest_run_misses_something() -> None:
    """Given a tour, When its first run is taken away, Then something is not taken any more."""
    whole = graph_of("core", Sizes(1, 1, 2))
    found = tour(whole, Cover.SITUATIONS)
    assert len(covered(whole, Tour(found.cover, found.covered, found.runs[1:]))) < found.covered


def test_a_graph_has_what_exploration_counts() -> None:
    """Given an instance, then its graph has as many states, is as deep, and has all edges but those that change nothing."""
    whole = graph_of("core", Sizes(1, 1, 2))
    found = explore(whole.instance)
    unchanged = found.edges - whole.source.size
    assert whole.states.shape[1] == found.states
    assert {whole.instance.steps[number].rule.id for number in np.unique(whole.step)} == set(found.taken)
    assert unchanged == sum(
        bool(evaluate(step.guard, state)) and step.after(state) == state
        for state in whole.packing.unpack(whole.states)
        for step in whole.instance.steps
    )


def test_a_graph_that_does_not_fit_is_refused() -> None:
    """Given little memory, then no graph is made, and it is said how much is needed."""
    part = slice_of("core")
    with pytest.raises(TooLarge, match="edges and more"):
        graph(Instance(part.spec, part, Sizes(2, 1, 2)), memory=10_000_000)


@pytest.mark.parametrize(("name", "sizes"), [("core", Sizes(2, 1, 2)), ("both-sides", Sizes(1, 1, 2, 1))], ids=str)
def test_the_model_takes_a_tour(name: str, sizes: Sizes) -> None:
    """Given a tour of situations, When the reference model takes it, Then each step is possible, and the states are those of the tour."""
    whole = graph_of(name, sizes)
    part = whole.instance
    machine = Machine(sizes.pages, sizes.channels, colo=True, page_size=1, spec=part.spec)
    steps = 0
    for run in tour(whole, Cover.SITUATIONS).runs[::7]:
        _load(machine, part, run.initial)
        state = run.initial
        for step in run.steps:
            machine.fire(step.rule.id, **_arguments(step))
            state = step.after(state)
            steps += 1
        held = tuple(int(machine.cells[place.cell][place.key]) for place in part.places)
        assert held == state
    assert steps > 400


def _load(machine: Machine, part: Instance, state: State) -> None:
    for place, value in zip(part.places, state, strict=True):
        machine.cells[place.cell][place.key] = value


def _arguments(step: Step) -> dict[str, Any]:
    given: dict[Sort, int] = dict(zip((parameter.sort for parameter in step.rule.parameters), step.arguments, strict=True))
    return {
        "channel": given.get(Channel, 0),
        "pages": (given[Page],) if Page in given else (),
        "values": (given[Value],) if Value in given else (),
        "others": {sort: number for sort, number in given.items() if sort in {DeviceState, Message}},
    }
