"""Runs of the model that the mutants of the specification are put to: those of the directed schedules, and transition tours.

A run is a list of micro-steps with the state before each, and the state behind the last. The schedules are recorded while `colofd check`
drives the built-in receiver through them; the tours are found by search, and know nothing of any mutant.
"""

import bisect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any, Final

import numpy as np

from colofd.conformance.lockstep import Lockstep
from colofd.conformance.schedules import DIRECTED, SHAPES, VARIANTS, Directed, plain
from colofd.conformance.subjects import SUBJECTS, Options
from colofd.model.compiled import CompiledMachine
from colofd.model.finite import Instance, Sizes, State, Step
from colofd.model.finite_slices import slice_of
from colofd.model.machine import MAIN_NUMBER, NO_OTHERS, Array
from colofd.model.search_graph import graph
from colofd.model.search_runs import Goal, shortest_run
from colofd.model.search_tours import Cover, TourRun, tour
from colofd.spec.both_sides import BothSides, DeviceState, Message, PrimaryAt
from colofd.spec.language import Expr, Sort, Spec, every, some
from colofd.spec.state import At, Channel, Page, Phase, Value, all_sent, is_settled

Cells = Mapping[str, Array]


@dataclass(frozen=True)
class Fired:
    """One step, or one for each of its pages."""

    rule: str
    channel: int
    pages: tuple[int, ...]
    values: tuple[int, ...]
    others: Mapping[Sort, int]


@dataclass(frozen=True)
class Case:
    """Runs of one specification with the same sizes, one behind the other.

    Attributes:
        name: what it is.
        spec: the specification that is run.
        sizes: how many pages, channels (with the main one), contents and device states there are.
        fired: the step that is taken in each state; None in the last one of a run.
        cells: each cell in all states: its array, with an axis for the states in front.
        begins: the numbers of the first states of the runs.
    """

    name: str
    spec: Spec
    sizes: Mapping[Sort, int]
    fired: Sequence[Fired | None]
    cells: Cells
    begins: Sequence[int]

    def run_from(self, begin: int) -> range:
        """Return the numbers of the states of a run, from one of them on."""
        place = bisect.bisect_right(self.begins, begin)
        return range(begin, self.begins[place] if place < len(self.begins) else len(self.fired))

    def state(self, number: int) -> dict[str, Array]:
        """Return a copy of one state."""
        return {name: np.array(cell[number]) for name, cell in self.cells.items()}


class _Recorder(CompiledMachine):
    """A machine that keeps each state before a step, and the step."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.kept: list[tuple[Cells, Fired]] = []
        self._is_inside = False

    def fire(
        self,
        identifier: str,
        *,
        channel: int = MAIN_NUMBER,
        pages: Sequence[int] = (),
        values: Sequence[int] | Array = (),
        others: Mapping[Sort, int] = NO_OTHERS,
    ) -> None:
        """Take a step, and keep it."""
        if self._is_inside:
            super().fire(identifier, channel=channel, pages=pages, values=values, others=others)
            return
        before = copied(self.cells)
        self._is_inside = True
        try:
            super().fire(identifier, channel=channel, pages=pages, values=values, others=others)
        finally:
            self._is_inside = False
        self.kept.append((before, Fired(identifier, channel, tuple(pages), tuple(int(each) for each in values), others)))


def copied(cells: Cells) -> dict[str, Array]:
    """Return a copy of a state."""
    return {name: cell.copy() for name, cell in cells.items()}


def name_of(options: Options) -> str:
    """Return a set-up as a name: what is not as usual in it."""
    parts = [] if options.colo else ["plain"]
    parts += [f"{options.channels} channels"] if options.channels != Options().channels else []
    parts += [f"{options.blocks} blocks"] if options.blocks != 1 else []
    parts += ["deferred"] if options.is_mirror_deferred else []
    parts += [str(options.compression)] if options.compression != Options().compression else []
    return ", ".join(parts)


def schedule_name(schedule: str, options: Options) -> str:
    """Return the name of a schedule in a set-up."""
    what = name_of(options)
    return f"schedule {schedule}{f' ({what})' if what else ''}"


def recorded_schedules() -> Iterator[Case]:
    """Yield what the model does in each directed schedule, and in the plain one in each shape. No rule knows of codecs: each but once."""
    for options in [each for each in VARIANTS if each.compression is Options().compression]:
        for schedule in DIRECTED:
            yield _recorded(schedule_name(schedule.__name__, options), schedule, options)
    for options in SHAPES:
        yield _recorded(schedule_name(plain.__name__, options), plain, options)


def _recorded(name: str, schedule: Directed, options: Options) -> Case:
    run = Lockstep(SUBJECTS["impl"], options, machine_class=_Recorder)
    try:
        schedule(run)
        run.close()
    except BaseException:
        run.abandon()
        raise
    machine = run.machine
    if not isinstance(machine, _Recorder):
        raise TypeError(machine)
    states = [*(before for before, _ in machine.kept), machine.cells]
    cells = {cell: np.stack([state[cell] for state in states]) for cell in machine.cells}
    contents = 1 + max(int(cells[cell].max()) for cell in ("primary", "guest", "cache"))
    return Case(name, machine.spec, {**machine.sizes, Value: contents}, [*(step for _, step in machine.kept), None], cells, [0])


def _tour(name: str, part: str, sizes: Sizes) -> Iterator[Case]:
    """Yield a tour of situations of a slice: every rule in every situation."""
    instance = Instance(slice_of(part).spec, slice_of(part), sizes)
    yield _toured(f"tour of {name} ({sizes})", instance, tour(graph(instance), Cover.SITUATIONS).runs)


@dataclass(frozen=True)
class _Wanted:
    """What a run leads to that no tour goes through: which states, in which slice."""

    name: str
    part: str
    sizes: Sizes
    formula: Callable[[BothSides], Expr[bool]]


_WANTED: Final = (
    _Wanted(
        "a migration fails when everything was sent",
        "plain",
        Sizes(1, 1, 1),
        lambda s: (s.phase == Phase.FAILED) & all_sent(s) & is_settled(s),
    ),
    _Wanted(
        "a migration completes with another device state than it began with",
        "whole-both-sides",
        Sizes(0, 1, 1, 2),
        lambda s: (s.phase == Phase.COMPLETED) & (s.guest_device != s.arriving_device),
    ),
    _Wanted(
        "a channel is parked when the fill could begin",
        "deferred",
        Sizes(1, 1, 1),
        lambda s: (
            (s.phase == Phase.PRECOPY)
            & all_sent(s)
            & every(Page)(lambda p: ~s.sent[p])
            & some(Channel)(lambda c: s.channel_at[c] == At.PARKED)
            & every(Channel)(lambda c: s.channel_at[c].within(At.READY, At.PARKED))
        ),
    ),
    _Wanted(
        "the primary dies with CHECKPOINT_READY on its way",
        "both-sides",
        Sizes(1, 1, 1, 1),
        lambda s: (s.primary_at == PrimaryAt.DEAD) & s.in_flight[Message.CHECKPOINT_READY],
    ),
    _Wanted(
        "the primary goes on alone with CHECKPOINT_READY on its way",
        "both-sides",
        Sizes(1, 1, 1, 1),
        lambda s: (s.primary_at == PrimaryAt.ALONE) & s.in_flight[Message.CHECKPOINT_READY],
    ),
)


def shortest_runs() -> Iterator[Case]:
    """Yield shortest runs to states that no tour goes through."""
    for wanted in _WANTED:
        instance = Instance(slice_of(wanted.part).spec, slice_of(wanted.part), wanted.sizes)
        run = shortest_run(instance, [Goal(instance.term(wanted.formula(BothSides()), {}))])
        if run is None:
            raise AssertionError(wanted.name)
        yield _toured(f"run: {wanted.name}", instance, [TourRun(run.states[0], run.steps)])


def _toured(name: str, instance: Instance, runs: Sequence[TourRun]) -> Case:
    states: list[State] = []
    fired: list[Fired | None] = []
    begins = []
    for run in runs:
        begins.append(len(states))
        states.append(run.initial)
        for step in run.steps:
            fired.append(_fired(step))
            states.append(step.after(states[-1]))
        fired.append(None)
    sizes: dict[Sort, int] = {sort: instance.sizes.count(sort) for sort in (Page, Channel, Value, DeviceState)}
    return Case(name, instance.spec, sizes, fired, _cells_of(instance, np.array(states)), begins)


def _fired(step: Step) -> Fired:
    given = dict(zip((each.sort for each in step.rule.parameters), step.arguments, strict=True))
    pages, values = ((given.pop(sort),) if sort in given else () for sort in (Page, Value))
    return Fired(step.rule.id, given.pop(Channel, MAIN_NUMBER), pages, values, given)


def _cells_of(instance: Instance, states: Array) -> Cells:
    """Return the cells of states that are given as what each slot holds, shape (states, slots)."""
    slots = {(place.cell, place.key): slot for slot, place in enumerate(instance.places)}
    found: dict[str, Array] = {}
    for cell in instance.spec.state.cells():
        shape = tuple(instance.sizes.count(sort) for sort in cell.key)
        found[cell.name] = np.empty((len(states), *shape), np.bool_ if cell.to is bool else np.int64)
        for key in np.ndindex(shape):
            fixed = instance.part.fixed_value(cell.name, key)
            its = states[:, slots[cell.name, key]] if fixed is None else _ordinal(fixed)
            found[cell.name][(slice(None), *key)] = its
    return found


def _ordinal(value: bool | int | Enum) -> int:
    return list(type(value)).index(value) if isinstance(value, Enum) else int(value)


RUNS: Final[Mapping[str, Callable[[], Iterator[Case]]]] = {
    "both sides": partial(_tour, "both sides", "whole-both-sides", Sizes(1, 1, 2, 1)),
    "both sides, two device states": partial(_tour, "both sides, two device states", "both-sides", Sizes(1, 1, 2, 2)),
    "schedules": recorded_schedules,
    "the receive path": partial(_tour, "the receive path", "whole", Sizes(1, 1, 2)),
    "two pages": partial(_tour, "the receive path, two pages", "plain", Sizes(1, 2, 1)),
    "shortest runs": shortest_runs,
}
"""All runs, in groups; what takes longest comes first."""
