"""Shortest runs: to a broken clause, to a broken promise of the proof, or to a rule."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from colofd.model.finite import Instance, State, Step
from colofd.model.finite_numpy import Reading, States
from colofd.model.finite_terms import FALSE, Term, evaluate
from colofd.model.proof_obligations import Kind, Obligation, obligations
from colofd.model.proof_trees import walk
from colofd.model.search_states import Levels, chunks
from colofd.spec.language import Every, Expr, Parameter, Some


@dataclass(frozen=True)
class Run:
    """A run from an initial state; `states[n]` is the state before `steps[n]`, and the last one that after all."""

    steps: tuple[Step, ...]
    states: tuple[State, ...]

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def names(self) -> tuple[str, ...]:
        """The steps as text, each with its arguments."""
        return tuple(step.name for step in self.steps)


@dataclass(frozen=True)
class Goal:
    """What a run leads to: a state in which `truth` holds, and in it, if there is one, the step `last`."""

    truth: Term
    last: Step | None = None


def shortest_run(instance: Instance, goals: Sequence[Goal], *, initial: Sequence[State] | None = None) -> Run | None:
    """Return a shortest run to one of the goals, or None if there is none; the plain reading has repeated it.

    It begins in one of the states `initial`; None: in any initial state.
    """
    wanted = [goal for goal in goals if goal.truth is not FALSE]
    levels = Levels(instance, [goal.truth for goal in wanted], initial=initial)
    before: list[States] = []
    while levels.level.shape[1]:
        for evaluated in levels.chunks():
            for goal in wanted:
                hits = np.flatnonzero(evaluated.columns[goal.truth])
                if hits.size:
                    first, steps = _way_back(levels.reading, before, evaluated.states[:, hits[:1]])
                    return _repeated(first, steps, goal)
            levels.expand(evaluated)
        before.append(levels.level)
        levels.advance()
    return None


def broken_clause(instance: Instance, identifier: str) -> list[Goal]:
    """Return the goal that a clause does not hold; KeyError if there is no such clause."""
    return [Goal(instance.terms.negation(instance.clauses[identifier]))]


def taken_rule(instance: Instance, identifier: str) -> list[Goal]:
    """Return the goals that a rule is taken, one for each of its steps in the instance."""
    return [Goal(step.guard, step) for step in instance.steps if step.rule.id == identifier]


def broken_promise(instance: Instance, kind: Kind) -> list[Goal]:
    """Return the goals that a step breaks what the proof promises of all steps, one for each obligation of this kind and its steps.

    The clauses, which an obligation may assume, are not asked for: the run is a real one.
    """
    clauses = {clause.formula for clause in instance.spec.clauses}
    goals = []
    for obligation in obligations(instance.spec):
        if obligation.kind is kind:
            assumed = [each for each in obligation.hypotheses if each not in clauses]
            rule = obligation.name.partition(" ")[0]
            goals += list(steps_with(instance, rule, [*assumed, ~obligation.goal]))
    return goals


def broken_state(instance: Instance, obligation: Obligation) -> list[Goal]:
    """Return the goals that a state is as an obligation says that none is; the clauses, which it may assume, are not asked for."""
    clauses = {clause.formula for clause in instance.spec.clauses}
    formulas = [*(each for each in obligation.hypotheses if each not in clauses), ~obligation.goal]
    bindings = instance.bindings(_free(formulas, set()))
    return [Goal(instance.terms.all([instance.term(formula, bound) for formula in formulas])) for bound in bindings]


def steps_with(instance: Instance, rule: str, formulas: Sequence[Expr[bool]]) -> Iterator[Goal]:
    """Yield the goals that a rule is taken where all formulas hold; parameters that are not its own stand for anything."""
    by_arguments = {step.arguments: step for step in instance.steps if step.rule.id == rule}
    own = instance.spec.rule(rule).parameters
    others = _free(formulas, set(own))
    for bindings in instance.bindings([*own, *others]):
        step = by_arguments.get(tuple(bindings[parameter] for parameter in own))
        if step is not None:
            truth = instance.terms.all([step.guard, *(instance.term(formula, bindings) for formula in formulas)])
            if truth is not FALSE:
                yield Goal(truth, step)


def _free(formulas: Sequence[Expr[bool]], given: set[Parameter[Any]]) -> list[Parameter[Any]]:
    """Return the parameters that no quantifier binds, beside those that are given."""
    nodes = [node for formula in formulas for node in walk(formula)]
    known = given | {node.variable for node in nodes if isinstance(node, Every | Some)}
    return list(dict.fromkeys(node for node in nodes if isinstance(node, Parameter) and node not in known))


def _way_back(reading: Reading, before: Sequence[States], last: States) -> tuple[State, list[Step]]:
    """Return the first state and the steps of a run to `last`; `before` are the levels up to it."""
    steps: list[Step] = []
    for level in reversed(before):
        last, number = _predecessor(reading, level, last)
        steps.append(reading.instance.steps[number])
    return reading.packing.unpack(last)[0], steps[::-1]


def _predecessor(reading: Reading, level: States, last: States) -> tuple[States, int]:
    for states in chunks(level):
        for number, where, after in reading.successors(reading.begin(states)):
            hits = np.flatnonzero((after == last).all(axis=0))
            if hits.size:
                return states[:, where[hits[:1]]], number
    raise AssertionError("a state of a level has a predecessor in the level before it")


def _repeated(first: State, steps: Sequence[Step], goal: Goal) -> Run:
    """Return the run from a state, after having taken each of its steps by the plain reading."""
    states = [first]
    for step in steps:
        if not evaluate(step.guard, states[-1]):
            raise AssertionError(f"the two readings differ: {step.name} is not possible")
        states.append(step.after(states[-1]))
    if not evaluate(goal.truth, states[-1]):
        raise AssertionError("the two readings differ about the goal")
    if goal.last is None:
        return Run(tuple(steps), tuple(states))
    return Run((*steps, goal.last), (*states, goal.last.after(states[-1])))
