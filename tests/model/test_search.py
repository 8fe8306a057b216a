"""Exploration: pinned counts, the readings against each other, symmetry, the table, and what it must notice."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from colofd.model import finite_numpy
from colofd.model.controls import HARMLESS, WRONG
from colofd.model.controls_declared import Control
from colofd.model.finite import Instance, Sizes, State, Step
from colofd.model.finite_numpy import Reading
from colofd.model.finite_slices import SLICES, slice_of
from colofd.model.finite_terms import evaluate
from colofd.model.machine import Machine
from colofd.model.search import explore
from colofd.model.search_estimate import estimated_bytes, estimated_states
from colofd.model.search_runs import broken_clause, shortest_run, taken_rule
from colofd.model.search_states import Levels
from colofd.model.search_table import StateSet, TooLarge
from colofd.spec.both_sides import BothSides
from colofd.spec.language import Spec
from colofd.spec.protocol import BOTH_SIDES, SPEC
from colofd.spec.state import Channel, Page, Phase, Value

COUNTS = {
    ("core", 1, 1, 2): (7_572, 29_920, 28),
    ("core", 2, 1, 2): (94_580, 493_264, 32),
    ("core", 1, 1, 3): (21_225, 104_079, 28),
    ("core", 1, 2, 2): (898_768, 5_175_648, 40),
    ("main-channel", 0, 1, 2): (3_448, 10_486, 27),
    ("main-channel", 1, 1, 2): (33_036, 137_916, 27),
    ("deferred", 1, 1, 2): (6_680, 26_276, 30),
    ("plain", 1, 1, 2): (716, 2_406, 16),
    ("whole", 1, 1, 2): (68_192, 278_110, 27),
}
"""States, edges and depth; SPIN counts the same where it was asked, see test_promela.py."""


def instance(name: str, sizes: Sizes, spec: Spec = SPEC) -> Instance:
    return Instance(spec, slice_of(name), sizes)


@pytest.mark.parametrize(("name", "channels", "pages", "values"), COUNTS)
def test_counts(name: str, channels: int, pages: int, values: int) -> None:
    """Given a small instance, then it has this many states, every clause holds in each, and nothing ends but where it may."""
    found = explore(instance(name, Sizes(channels, pages, values)), symmetric=True)
    assert (found.states, found.edges, found.depth) == COUNTS[name, channels, pages, values]
    assert found.violations == {}
    assert found.stuck == 0
    assert set(found.ends) <= {"FAILOVER", "STOPPED", "COMPLETED", "FAILED"}


BOTH_SIDES_COUNTS = {
    ("both-sides", 1, 1, 2, 1): (46_336, 492_080, 32),
    ("both-sides", 1, 1, 2, 2): (654_592, 7_543_360, 34),
    ("both-sides", 2, 1, 2, 1): (413_456, 4_850_792, 35),
    ("whole-both-sides", 1, 1, 2, 1): (324_376, 3_363_832, 32),
}
"""As above, with both sides; the last size is the number of device states."""


@pytest.mark.parametrize(("name", "channels", "pages", "values", "devices"), BOTH_SIDES_COUNTS)
def test_counts_of_both_sides(name: str, channels: int, pages: int, values: int, devices: int) -> None:
    """Given a small instance of both sides, then it has this many states, every clause holds in each, and the primary waits in no end."""
    sizes = Sizes(channels, pages, values, devices)
    found = explore(instance(name, sizes, BOTH_SIDES), symmetric=True)
    assert (found.states, found.edges, found.depth) == BOTH_SIDES_COUNTS[name, channels, pages, values, devices]
    assert (found.violations, found.stuck) == ({}, 0)
    assert set(found.ends) <= {"FAILOVER", "STOPPED", "COMPLETED", "FAILED"}


SHORTEST = {
    "phase.start": 1,
    "phase.give-up": 2,
    "guest.primary-write": 2,
    "send.normal-page": 2,
    "send.zero-page": 2,
    "receive.prepare": 2,
    "barrier.park": 2,
    "thread.exit": 2,
    "main.prepare": 3,
    "receive.payload-complete": 3,
    "barrier.release": 3,
    "receive.zero-page": 4,
    "receive.read-part": 4,
    "receive.read-page": 4,
    "receive.packet-done": 4,
    "main.zero-page": 4,
    "main.read-part": 4,
    "main.read-page": 4,
    "main.mirror": 5,
    "own.release-cache": 5,
    "own.release-receivedmap": 5,
    "receive.mirror": 6,
    "phase.complete": 8,
    "phase.fill-begin": 8,
    "phase.enter-colo": 8,
    "guest.secondary-write": 9,
    "checkpoint.flush-page": 9,
    "checkpoint.begin": 9,
    "failover.take-over": 9,
    "failover.stop": 9,
    "checkpoint.received": 10,
    "checkpoint.flush-begin": 11,
    "checkpoint.commit": 12,
}
"""For each rule, the number of steps of a shortest run that ends with it."""


def test_every_rule_is_taken_somewhere() -> None:
    """Given the slice that leaves nothing out, then each rule is taken, and a shortest run to it is this long."""
    found = explore(instance("whole", Sizes(1, 1, 2)))
    assert found.taken == SHORTEST
    assert {rule.id for rule in SPEC.rules} == set(SHORTEST)


SHORTEST_OF_BOTH_SIDES = SHORTEST | {
    "guest.primary-device": 1,
    "fault.primary-dies": 1,
    "fault.message-lost": 1,
    "colo.precopy-sent": 3,
    "failover.primary": 4,
    "phase.complete": 9,
    "phase.fill-begin": 9,
    "phase.enter-colo": 9,
    "checkpoint.flush-page": 10,
    "guest.secondary-write": 10,
    "guest.secondary-device": 10,
    "failover.take-over": 10,
    "failover.stop": 10,
    "colo.start": 10,
    "colo.request": 11,
    "checkpoint.begin": 12,
    "colo.stop-primary": 13,
    "colo.checkpoint-sent": 14,
    "checkpoint.received": 15,
    "checkpoint.answer": 16,
    "checkpoint.flush-begin": 17,
    "colo.release-output": 17,
    "checkpoint.commit": 18,
    "colo.resume": 20,
}
"""The same with the primary's side: what must be said and read before makes some runs longer."""


def test_every_rule_of_both_sides_is_taken_somewhere() -> None:
    """Given both sides and nothing left out, then each rule is taken, and a shortest run to it is this long."""
    found = explore(instance("whole-both-sides", Sizes(1, 1, 2, 1), BOTH_SIDES))
    assert found.taken == SHORTEST_OF_BOTH_SIDES
    assert {rule.id for rule in BOTH_SIDES.rules} == set(SHORTEST_OF_BOTH_SIDES)


@pytest.mark.parametrize("rule", ["phase.complete", "checkpoint.commit", "own.release-receivedmap"])
def test_a_shortest_run_is_as_long_as_exploration_says(rule: str) -> None:
    """Given a rule, then the run that is found ends with it, has as many steps as its depth says, and one state more than steps."""
    whole = instance("whole", Sizes(1, 1, 2))
    run = shortest_run(whole, taken_rule(whole, rule))
    assert run is not None
    assert len(run) == SHORTEST[rule] == len(run.states) - 1
    assert run.steps[-1].rule.id == rule


def test_a_clause_that_holds_is_broken_by_no_run() -> None:
    """Given the specification, then no run breaks isolation."""
    core = instance("core", Sizes(1, 1, 2))
    assert shortest_run(core, broken_clause(core, "isolation.guest")) is None


# Symmetry, and several words.


@pytest.mark.parametrize("sizes", [Sizes(1, 1, 2, 2), Sizes(0, 1, 2, 3)], ids=["2", "3"])
def test_device_states_have_no_names(sizes: Sizes) -> None:
    """Given two or three device states, then visiting one of their orders finds the same counts, with far fewer visits."""
    part = instance("both-sides", sizes, BOTH_SIDES)
    every, one = (explore(part, symmetric=symmetric) for symmetric in (False, True))
    assert (one.states, one.edges, one.depth, one.taken, one.ends) == (every.states, every.edges, every.depth, every.taken, every.ends)
    assert one.representatives < 1.2 * every.states / math.factorial(sizes.devices)


@pytest.mark.parametrize("sizes", [Sizes(2, 1, 2), Sizes(1, 2, 2)], ids=str)
def test_symmetry_changes_no_count(sizes: Sizes) -> None:
    """Given two channels or two pages, then visiting one of two orders finds the same counts, with about half of the visits."""
    every, one = (explore(instance("core", sizes), symmetric=symmetric) for symmetric in (False, True))
    assert (one.states, one.edges, one.depth, one.taken, one.ends) == (every.states, every.edges, every.depth, every.taken, every.ends)
    assert every.representatives == every.states
    assert one.representatives < 0.55 * every.representatives


@pytest.mark.parametrize("symmetric", [False, True])
def test_states_of_several_words(symmetric: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given words so short that a state needs several, then nothing else is counted."""
    monkeypatch.setattr(finite_numpy, "WORD_BITS", 9)
    found = explore(instance("core", Sizes(2, 1, 2)), symmetric=symmetric)
    assert Reading(instance("core", Sizes(2, 1, 2))).packing.words == 5
    assert (found.states, found.edges, found.depth) == COUNTS["core", 2, 1, 2]


# The readings against each other.


def reached(part: Instance, every: int) -> Iterator[State]:
    """Yield some of the states of an instance."""
    levels = Levels(part, [])
    while levels.level.shape[1]:
        yield from levels.reading.packing.unpack(levels.level[:, ::every])
        for evaluated in levels.chunks():
            levels.expand(evaluated)
        levels.advance()


@pytest.mark.parametrize(("name", "sizes", "every"), [("whole", Sizes(1, 1, 2), 97), ("core", Sizes(2, 2, 3), None)], ids=str)
def test_the_fast_reading_is_the_plain_one(name: str, sizes: Sizes, every: int | None) -> None:
    """Given states of an instance, then both readings find the same steps possible, and the same states after them."""
    part = instance(name, sizes)
    reading = Reading(part)
    states = list(reached(part, every)) if every else walked(part, 400)
    evaluated = reading.begin(reading.packing.pack(states))
    fast = {
        (state, number): after
        for number, where, successors in reading.successors(evaluated)
        for state, after in zip(where.tolist(), reading.packing.unpack(successors), strict=True)
    }
    plain = {
        (index, number): step.after(state)
        for index, state in enumerate(states)
        for number, step in enumerate(part.steps)
        if evaluate(step.guard, state)
    }
    assert fast == plain
    assert len(plain) > 1_000


def walked(part: Instance, length: int) -> list[State]:
    """Return the states of a random walk that does not end."""
    random = np.random.default_rng(7)
    states = [next(iter(part.initial_states()))]
    ends = ("thread.exit", "phase.give-up", "failover.take-over", "failover.stop")
    lasting = [step for step in part.steps if step.rule.id not in ends]
    while len(states) < length:
        possible = [step for step in lasting if evaluate(step.guard, states[-1])]
        states.append(possible[random.integers(len(possible))].after(states[-1]))
    return states


def test_the_fast_reading_is_the_machine() -> None:
    """Given states of the smallest whole instance, then the reference model finds the same steps possible, and the same states after."""
    part = instance("whole", Sizes(1, 1, 2))
    machine = Machine(1, 1, colo=True, page_size=1)
    taken = set()
    for state in reached(part, 331):
        for step in part.steps:
            load(machine, part, state)
            is_possible = machine.why_not(step.rule.id, **arguments(step)) is None
            assert is_possible == bool(evaluate(step.guard, state)), (step.name, part.described(state))
            if is_possible:
                machine.fire(step.rule.id, **arguments(step))
                assert held(machine, part) == step.after(state), (step.name, part.described(state))
                taken.add(step.rule.id)
    assert len(taken) > 25


def load(machine: Machine, part: Instance, state: State) -> None:
    for place, value in zip(part.places, state, strict=True):
        machine.cells[place.cell][place.key] = value


def held(machine: Machine, part: Instance) -> State:
    return tuple(int(machine.cells[place.cell][place.key]) for place in part.places)


def arguments(step: Step) -> dict[str, Any]:
    """Return a step's arguments as the machine takes them."""
    given = dict(zip((parameter.sort for parameter in step.rule.parameters), step.arguments, strict=True))
    named: dict[str, Any] = {}
    if Channel in given:
        named["channel"] = given[Channel]
    if Page in given:
        named["pages"] = (given[Page],)
    if Value in given:
        named["values"] = (given[Value],)
    return named


def test_slices_leave_out_what_they_say() -> None:
    """Given the slices, then these rules are never taken in them."""
    main = {rule.id for rule in SPEC.rules if rule.id.startswith("main.")}
    left_out = {
        "core": {*main, "phase.complete", "phase.fill-begin"},
        "main-channel": {"phase.complete", "phase.fill-begin"},
        "deferred": {*main, "phase.complete"},
        "plain": {
            *main,
            *(rule.id for rule in SPEC.rules if rule.id.startswith(("checkpoint.", "failover."))),
            "phase.fill-begin",
            "phase.enter-colo",
            "own.release-cache",
        },
        "whole": set[str](),
        "both-sides": {*main, "phase.complete", "phase.fill-begin"},
        "whole-both-sides": set[str](),
    }
    for part in SLICES:
        found = explore(Instance(part.spec, part, Sizes(1, 1, 2, 1)))
        assert {rule.id for rule in part.spec.rules} - set(found.taken) == left_out[part.name], part.name


# What must be noticed.


def test_a_wrong_specification_is_noticed() -> None:
    """Given a known mistake, then exploration finds the clause broken, at the depth of the shortest run."""
    (control,) = (control for control in WRONG if control.name == "take-over in a flush")
    found = explore(instance("core", Sizes(1, 1, 2), control.spec))
    assert found.violations == {"isolation.guest": 16}


@pytest.mark.parametrize("control", HARMLESS, ids=lambda control: control.name)
def test_a_harmless_change_breaks_nothing(control: Control) -> None:
    """Given a change that only looks like a mistake, then no clause is broken in any state."""
    assert explore(instance("core", Sizes(1, 1, 2), control.spec)).violations == {}


def test_memory_that_is_never_released_is_noticed() -> None:
    """Given no rule that releases the cache, then there are states where nothing can happen and the destination has not ended."""
    spec = Spec(SPEC.state, SPEC.initial, tuple(rule for rule in SPEC.rules if rule.id != "own.release-cache"), SPEC.clauses)
    found = explore(instance("core", Sizes(1, 1, 2), spec))
    assert found.stuck == sum(found.ends.values()) > 0
    assert Phase.FAILOVER.name in found.ends


def test_a_primary_that_waits_for_ever_is_noticed() -> None:
    """Given a primary that cannot do its own failover, then there are states where it waits for a message that was lost."""
    spec = Spec(
        BothSides, BOTH_SIDES.initial, tuple(rule for rule in BOTH_SIDES.rules if rule.id != "failover.primary"), BOTH_SIDES.clauses
    )
    found = explore(instance("both-sides", Sizes(1, 1, 2, 1), spec))
    assert 0 < found.stuck < sum(found.ends.values())


# The table.


@pytest.mark.parametrize("words", [1, 2])
def test_a_set_of_states_adds_each_once(words: int) -> None:
    """Given states with many repetitions, then those that a plain set finds new are new, each once."""
    random = np.random.default_rng(3)
    table, plain = StateSet(words, bits=4), set[tuple[int, ...]]()
    for _ in range(40):
        states = random.integers(1, 60, (words, 500)).astype(np.uint64)
        new = [tuple(row) for row in states[:, table.add(states)].T.tolist()]
        expected = {tuple(row) for row in states.T.tolist()} - plain
        assert sorted(new) == sorted(expected)
        plain |= expected
    assert table.count == len(plain)


def test_what_does_not_fit_is_refused() -> None:
    """Given little memory, then exploration stops and says how much is needed."""
    with pytest.raises(TooLarge, match="bytes are needed to go on, 2,000,000 are allowed"):
        explore(instance("core", Sizes(1, 2, 2)), memory=2_000_000)


def test_the_estimate_is_not_far_off() -> None:
    """Given sizes beyond the smallest, then the estimate is the count where it was made from it, and within a factor of two elsewhere."""
    assert estimated_states(SPEC, slice_of("core"), Sizes(1, 2, 2)) == 898_768
    assert 0.5 < estimated_states(SPEC, slice_of("core"), Sizes(2, 2, 2)) / 18_121_440 < 2
    assert estimated_bytes(instance("core", Sizes(2, 2, 2)), symmetric=True) < 1 << 29
    assert estimated_bytes(instance("core", Sizes(2, 4, 2)), symmetric=True) > 1 << 37
