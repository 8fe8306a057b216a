"""What becomes of a mutant of the specification: which obligation notices it, or that it changes nothing."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeAlias

from colofd.model.finite import Instance, Sizes
from colofd.model.finite_slices import slice_of
from colofd.model.proof_obligations import Kind, Obligation, layer_obligations, obligations
from colofd.model.proof_progress import measure_obligations
from colofd.model.proof_steps import changes_something, conjunction, step_obligations
from colofd.model.proof_trees import after, cells_read, substituted
from colofd.model.search import explore
from colofd.model.smtlib import Writer
from colofd.model.solver import Solver
from colofd.model.spec_mutants import Mutant
from colofd.spec.both_sides import BothSides
from colofd.spec.language import Equal, Expr, Measure, Not, Parameter, ProgressBook, Read, Rule, Spec, StepBook
from colofd.spec.state import MAIN, Channel

OF_PROGRESS: Final = (Kind.VACUITY, Kind.ABILITY, Kind.PROGRESS)
"""Kinds of obligations that say that something can be done, or is done at last."""

Question: TypeAlias = tuple[Writer, Obligation]


class Outcome(StrEnum):
    """What becomes of a mutant."""

    BY_PROOF = "by proof"
    """An obligation about what may not happen fails."""
    BY_PROGRESS = "by progress"
    """An obligation about what must be possible fails."""
    BY_COUNT = "by count"
    """Nothing that is proved fails, but small instances have other states or steps."""
    EQUIVALENT = "equivalent"
    """It is proved that the steps of the whole specification are the same as before, or leave everything as it is."""
    SURVIVED = "survived"
    """Nothing tells it from the original."""


@dataclass(frozen=True)
class Finding:
    """What becomes of a mutant, and the name of the first obligation that fails, if one does."""

    outcome: Outcome
    failed: str = ""


@dataclass(frozen=True)
class Claims:
    """The specification without its layer and with it, and what is claimed of either beside its clauses."""

    base: Spec
    whole: Spec
    base_steps: StepBook[Any]
    whole_steps: StepBook[Any]
    progress: tuple[ProgressBook[Any], ...]


class Jury:
    """Decides about mutants; the cheapest questions come first."""

    def __init__(self, claims: Claims, solvers: Sequence[Solver]) -> None:
        self._claims = claims
        self._solvers = solvers
        self._base_writer = Writer(claims.base)
        self._whole_writer = Writer(claims.whole)

    def is_equivalent(self, mutant: Mutant) -> bool:
        """Return whether every solver says that the changed rule does the same, wherever all clauses hold."""
        writer, spec, original, changed = self._place(mutant)
        return self._proved(writer, is_the_same(spec, mutant, original, changed))

    def decide(self, mutant: Mutant) -> Finding:
        """Return what becomes of a mutant. It is equivalent only if all solvers say so, and noticed if the first one does."""
        if self.is_equivalent(mutant):
            return Finding(Outcome.EQUIVALENT)
        writer, spec, original, changed = self._place(mutant)
        for asked, obligation in self._owed(mutant):
            if self._solvers[0].ask(asked.text(obligation)) is not obligation.expected:
                outcome = Outcome.BY_PROGRESS if obligation.kind in OF_PROGRESS else Outcome.BY_PROOF
                return Finding(outcome, obligation.name)
        if mutant.edit.is_guard and self._is_covered(writer, spec, original, changed):
            return Finding(Outcome.EQUIVALENT)
        is_counted = counts(_with(spec, original, changed)) != counts(spec)
        return Finding(Outcome.BY_COUNT if is_counted else Outcome.SURVIVED)

    def _is_covered(self, writer: Writer, spec: Spec, original: Rule, changed: Rule) -> bool:
        """Return whether every step that the changed guard adds leaves everything as it is, or is a step of another rule."""
        invariant = tuple(clause.formula for clause in spec.clauses)
        was, now = conjunction(*original.guards), conjunction(*changed.guards)
        if not self._proved(writer, Obligation("no step less", Kind.STEP, (*invariant, was), now)):
            return False
        added = (*invariant, now, Not(was))
        others = (_as_step_of(rule, changed) for rule in spec.rules if rule.id != changed.id)
        same = (conjunction(*each.guards, _same_effect(spec, changed, each)) for each in others if each)
        goals = (Not(changes_something(changed)), *same)
        return any(self._proved(writer, Obligation("no other step", Kind.STEP, added, goal)) for goal in goals)

    def _place(self, mutant: Mutant) -> tuple[Writer, Spec, Rule, Rule]:
        """Return where the change is made: in the base, or in the layer, with the rule there as it was and as it is."""
        if mutant.base is None:
            return self._whole_writer, self._claims.whole, mutant.original, mutant.rule
        return self._base_writer, self._claims.base, self._claims.base.rule(mutant.rule.id), mutant.base

    def _proved(self, writer: Writer, obligation: Obligation) -> bool:
        text = writer.text(obligation)
        return all(solver.ask(text) is obligation.expected for solver in self._solvers)

    def _owed(self, mutant: Mutant) -> Iterator[Question]:
        """Yield what the changed rule owes: in the base if it is changed there, and in the whole."""
        claims = self._claims
        of_whole = dataclasses.replace(claims.whole, rules=(mutant.rule,))
        if mutant.base is not None:
            of_base = dataclasses.replace(claims.base, rules=(mutant.base,))
            yield from ((self._base_writer, each) for each in _of_the_rule(obligations(of_base)))
            yield from ((self._base_writer, each) for each in step_obligations(of_base, claims.base_steps))
        yield from ((self._whole_writer, each) for each in _of_the_rule(layer_obligations(of_whole, claims.base)))
        yield from ((self._whole_writer, each) for each in step_obligations(of_whole, claims.whole_steps))
        yield from ((self._whole_writer, each) for each in self._of_measures(mutant))

    def _of_measures(self, mutant: Mutant) -> Iterator[Obligation]:
        whole = self._claims.whole
        changed = _with(whole, mutant.original, mutant.rule)
        for measure in (each for book in self._claims.progress for each in book.measures):
            if _concerns(measure, mutant.rule):
                yield from (each for each in measure_obligations(changed, measure) if _names(each, mutant.rule))


def counts(spec: Spec) -> tuple[tuple[int, int, int], ...]:
    """Return states, edges and depth of small instances of all slices that the specification has."""
    slices = ("both-sides",) if issubclass(spec.state, BothSides) else ("core", "main-channel", "deferred", "plain")
    found = [explore(Instance(spec, slice_of(name), Sizes(1, 1, 2, 1)), symmetric=True) for name in slices]
    return tuple((each.states, each.edges, each.depth) for each in found)


def _with(spec: Spec, original: Rule, changed: Rule) -> Spec:
    return dataclasses.replace(spec, rules=tuple(changed if rule is original else rule for rule in spec.rules))


def _of_the_rule(owed: Sequence[Obligation]) -> Iterator[Obligation]:
    return (each for each in owed if each.kind is not Kind.INITIATION)


def _concerns(measure: Measure, rule: Rule) -> bool:
    read = cells_read(measure.during, measure.goal, *(part.formula for part in measure.remaining))
    return any(rule.id == each.id for each in measure.helpful) or not read.isdisjoint(update.cell.name for update in rule.updates)


def _names(obligation: Obligation, rule: Rule) -> bool:
    return f": {rule.id} " in obligation.name or obligation.name.endswith("is possible")


def is_the_same(spec: Spec, mutant: Mutant, original: Rule, changed: Rule) -> Obligation:
    """Return that the changed rule is possible where the original was, and does the same there."""
    invariant = tuple(clause.formula for clause in spec.clauses)
    if mutant.edit.is_guard:
        return Obligation("same guard", Kind.STEP, invariant, Equal(conjunction(*original.guards), conjunction(*changed.guards)))
    return Obligation("same effect", Kind.STEP, (*invariant, *original.guards), _same_effect(spec, original, changed))


def _same_effect(spec: Spec, one: Rule, other: Rule) -> Expr[bool]:
    """Return that all cells hold the same after a step of either rule; the keys stand for any."""
    written = {update.cell.name for rule in (one, other) for update in rule.updates}
    reads: list[Expr[Any]] = [
        Read(cell, tuple(Parameter("key", sort) for sort in cell.key)) for cell in spec.state.cells() if cell.name in written
    ]
    return conjunction(*(Equal(after(one, read), after(other, read)) for read in reads))


def _as_step_of(rule: Rule, changed: Rule) -> Rule | None:
    """Return a rule with the parameters of another, by their names, or None; a channel that one of them lacks is the main one."""
    names = {parameter.name: parameter for parameter in changed.parameters}
    values: dict[Parameter[Any], Expr[Any]] = {each: names.get(each.name, MAIN) for each in rule.parameters}
    if any(value is MAIN and parameter.sort is not Channel for parameter, value in values.items()):
        return None
    missing = [each for each in changed.parameters if each.name not in {own.name for own in rule.parameters} and each.sort is Channel]
    guards = tuple(substituted(guard, values) for guard in rule.guards)
    updates = tuple(
        dataclasses.replace(each, key=tuple(substituted(key, values) for key in each.key), value=substituted(each.value, values))
        for each in rule.updates
    )
    return dataclasses.replace(rule, guards=(*guards, *(each == MAIN for each in missing)), updates=updates)
