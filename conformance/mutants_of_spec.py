"""Mutants of the specification as receivers: the model with one wrong text, put to runs of the right one.

The model with a changed rule is driven through a run as a receiver under gates is, and what could be seen of it there tells it from the
specification: it is ready for a step that is not allowed, it refuses one that is taken, memory, maps, messages or whether the guest runs
differ, or a clause does not hold in its state. What only hidden cells know is followed until it shows.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from colofd.conformance.mutants_runs import Case, Fired
from colofd.model.compiled import Compiled, CompiledMachine
from colofd.model.machine import Array, Environment, Machine, NotEnabled
from colofd.model.spec_mutants import Mutant, mutants
from colofd.spec.both_sides import BothSides, Message
from colofd.spec.language import Expr, Parameter, Read, Rule, Spec
from colofd.spec.protocol import BOTH_SIDES, SPEC
from colofd.spec.state import Channel, Page, Phase, Value, World

Truths = npt.NDArray[np.bool_]

SEEN: Final = tuple(
    cell.name
    for cell in (
        World.guest_running,
        World.cache_allocated,
        World.receivedmap_allocated,
        World.guest,
        World.cache,
        World.received,
        World.peer_dirty,
        BothSides.in_flight,
        BothSides.guest_device,
    )
)
"""Cells that a receiver under gates shows: memory, maps, replies, and what the embedder is told."""

_MIRROR_IS_OPEN: Final = frozenset(list(Phase).index(phase) for phase in (Phase.PRECOPY, Phase.FILLING))
"""Phases in which guest RAM is undefined with the deferred mirror."""


@cache
def spec_mutants() -> tuple[Mutant, ...]:
    """Return all mutants of the rules of both sides, as `colofd prove --mutants` has them."""
    return mutants(BOTH_SIDES, SPEC)


class Trial:
    """One case, to which any number of mutants are put."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._states = _States(case.spec, case.sizes, case.cells)
        self._enabled: dict[str, Truths] = {}
        self._taken: dict[str, list[int]] = {}
        for number, step in enumerate(case.fired):
            if step is not None:
                self._taken.setdefault(step.rule, []).append(number)
        self._original = {rule.id: rule for rule in case.spec.rules}
        self._compiled: dict[tuple[str, bool], Compiled] = {}

    def killed_by(self, mutant: Mutant) -> str:
        """Return what tells the mutant from the specification in these runs; empty if nothing does."""
        rule = mutant.rule if self._case.spec is BOTH_SIDES else mutant.base
        if rule is None:
            return ""
        return self._by_guard(rule) if mutant.edit.is_guard else self._by_effect(rule)

    def _by_guard(self, rule: Rule) -> str:
        original, changed = self._allowed(rule.id), self._states.enabled(rule)
        surplus = (changed & ~original).reshape(len(changed), -1).any(axis=1)
        if surplus.any():
            return self._said(int(surplus.argmax()), f"is ready for {rule.id}, which is not allowed")
        for number in self._taken.get(rule.id, ()):
            step = self._case.fired[number]
            if step is not None and not changed[(number, *_place(rule, step))].all():
                return self._said(number, f"does not take {rule.id}")
        return ""

    def _allowed(self, rule: str) -> Truths:
        """Return where a rule of the specification is possible: shape (states, members of each of its parameters)."""
        if rule not in self._enabled:
            self._enabled[rule] = self._states.enabled(self._original[rule])
        return self._enabled[rule]

    def _by_effect(self, rule: Rule) -> str:
        if rule.id not in self._taken:
            return ""
        spec = replace(self._case.spec, rules=tuple(rule if each.id == rule.id else each for each in self._case.spec.rules))
        machine = _Mutated(spec, self._case.sizes, rule.id, self._compiled)
        for number in self._taken[rule.id]:
            machine.cells = self._case.state(number)
            self._take(machine, number)
            if self._differs(machine, number + 1) and (why := self._followed(machine, number + 1)):
                return why
        return ""

    def _take(self, machine: Machine, number: int) -> None:
        step = self._case.fired[number]
        if step is not None:
            machine.fire(step.rule, channel=step.channel, pages=step.pages, values=step.values, others=step.others)

    def _differs(self, machine: Machine, number: int) -> bool:
        return any(not np.array_equal(cell, self._case.cells[name][number]) for name, cell in machine.cells.items())

    def _followed(self, machine: Machine, begin: int) -> str:
        """Follow a receiver that is in another state than it should be, to the end of the run or until it is right again."""
        others: list[Mapping[str, Array]] = []
        for number in self._case.run_from(begin):
            if not self._differs(machine, number):
                break
            if cell := self._seen_to_differ(machine, number):
                return self._said(number, f"{cell} differs")
            others.append({name: cell.copy() for name, cell in machine.cells.items()})
            try:
                self._take(machine, number)
            except NotEnabled as refusal:
                return self._said(number, f"does not take {refusal.rule}")
        return self._by_readiness(machine, others, begin) or self._by_clauses(machine, others, begin)

    def _seen_to_differ(self, machine: Machine, number: int) -> str:
        is_open = machine.cells["deferred"] and int(machine.cells["phase"]) in _MIRROR_IS_OPEN
        shown = [name for name in SEEN if name in machine.cells and not (is_open and name == World.guest.name)]
        return next((name for name in shown if not np.array_equal(machine.cells[name], self._case.cells[name][number])), "")

    def _by_readiness(self, machine: Machine, others: Sequence[Mapping[str, Array]], begin: int) -> str:
        states = _States(machine.spec, self._case.sizes, _stacked(others))
        for rule in machine.spec.rules:
            surplus = states.enabled(rule) & ~self._allowed(rule.id)[begin : begin + len(others)]
            if surplus.any():
                number = begin + int(surplus.reshape(len(others), -1).any(axis=1).argmax())
                return self._said(number, f"is ready for {rule.id}, which is not allowed")
        return ""

    def _by_clauses(self, machine: Machine, others: Sequence[Mapping[str, Array]], begin: int) -> str:
        states = _States(machine.spec, self._case.sizes, _stacked(others))
        for clause in machine.spec.clauses:
            holds = states.truth(clause.formula)
            if not holds.all():
                return self._said(begin + int(holds.argmin()), f"{clause.id} does not hold")
        return ""

    def _said(self, number: int, what: str) -> str:
        begin = max(each for each in self._case.begins if each <= number)
        where = f"run {self._case.begins.index(begin) + 1}, " if len(self._case.begins) > 1 else ""
        return f"{where}step {number - begin}: {what}"


def _stacked(states: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    return {name: np.stack([state[name] for state in states]) for name in states[0]}


def _place(rule: Rule, step: Fired) -> tuple[Any, ...]:
    """Return where a step stands in the axes of the parameters of its rule."""
    given: dict[Any, Any] = {Channel: step.channel, Page: list(step.pages), Value: list(step.values), **step.others}
    return tuple(given[parameter.sort] for parameter in rule.parameters)


class _Mutated(CompiledMachine):
    """A machine with one changed rule; what is compiled of the other rules is shared."""

    def __init__(self, spec: Spec, sizes: Mapping[Any, int], changed: str, shared: dict[tuple[str, bool], Compiled]) -> None:
        super().__init__(sizes[Page], sizes[Channel] - 1, colo=True, page_size=1, spec=spec)
        self.sizes.update(sizes)
        self._changed = changed
        self._shared = shared
        super()._step(changed, is_many=False)

    def _step(self, identifier: str, is_many: bool) -> Compiled:
        if identifier == self._changed:
            return super()._step(identifier, is_many=is_many)
        if (identifier, is_many) not in self._shared:
            self._shared[identifier, is_many] = super()._step(identifier, is_many=is_many)
        return self._shared[identifier, is_many]


class _States(Machine):
    """Many states at once: every cell has an axis for them in front."""

    def __init__(self, spec: Spec, sizes: Mapping[Any, int], cells: Mapping[str, Array]) -> None:
        self._is_many = False
        super().__init__(sizes[Page], sizes[Channel] - 1, colo=True, page_size=1, spec=spec)
        self.sizes.update(sizes)
        self.cells = dict(cells)
        self._which = np.arange(len(cells[World.phase.name]))
        self._is_many = True

    def enabled(self, rule: Rule) -> Truths:
        """Return where a rule is possible: shape (states, members of each of its parameters)."""
        shape = [self._members(parameter) for parameter in rule.parameters]
        self._which = self._which.reshape(-1, *[1] * len(shape))
        environment: dict[Parameter[Any], Array] = {
            parameter: np.arange(size).reshape(-1, *[1] * (len(shape) - 1 - axis))
            for axis, (parameter, size) in enumerate(zip(rule.parameters, shape, strict=True))
        }
        holds = np.ones((len(self._which), *shape), np.bool_)
        for guard in rule.guards:
            holds &= self._evaluate(guard, environment, 1 + len(shape))
        return holds

    def _members(self, parameter: Parameter[Any]) -> int:
        return len(Message) if parameter.sort is Message else self.sizes[parameter.sort]

    def truth(self, formula: Expr[bool]) -> Truths:
        """Return in which states a formula without parameters holds, shape (states,)."""
        self._which = self._which.reshape(-1)
        return np.broadcast_to(self._evaluate(formula, {}, 1), self._which.shape)

    def _evaluate(self, expression: Expr[Any], environment: Environment, dimensions: int) -> Array:
        if isinstance(expression, Read) and self._is_many:
            # The axes of quantifiers come before that of the states, those of parameters behind it.
            keys = [self._evaluate(part, environment, dimensions) for part in expression.key]
            return np.asarray(self.cells[expression.cell.name][(self._which, *keys)])
        return super()._evaluate(expression, environment, dimensions)


def kills(cases: Sequence[Case], numbers: Sequence[int]) -> Iterator[tuple[int, dict[str, str], float]]:
    """Yield for each mutant, by its number, the cases that tell it from the specification, and how; and how many seconds that took."""
    trials = [(case.name, Trial(case)) for case in cases]
    for number in numbers:
        begin = time.perf_counter()
        found = ((name, trial.killed_by(spec_mutants()[number])) for name, trial in trials)
        yield number, {name: why for name, why in found if why}, time.perf_counter() - begin
