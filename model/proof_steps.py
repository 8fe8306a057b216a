"""What has to be proved of single steps: what none of them does, what some of them must be able to do, and that none of them idles."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from colofd.model.proof_obligations import Answer, Kind, Obligation
from colofd.model.proof_trees import after, cells_read
from colofd.spec.language import Expr, Literal, Parameter, Read, Rule, Some, Spec, StepBook, Update
from colofd.spec.language.cells import Cell
from colofd.spec.protocol import BOTH_SIDES, SPEC
from colofd.spec.steps import BEGINNINGS, steps, steps_of_both

_TRUE: Literal[bool] = Literal(True, bool)
_FALSE: Literal[bool] = Literal(False, bool)


def all_step_obligations() -> tuple[Obligation, ...]:
    """Return what the receive path and both sides owe for the claims about their steps."""
    return (*step_obligations(SPEC, steps), *step_obligations(BOTH_SIDES, steps_of_both), *beginning_obligations(BEGINNINGS))


def beginning_obligations(beginnings: Spec) -> tuple[Obligation, ...]:
    """Return that there are initial states, and that each change which leads from one of them to another does so from all."""
    initial = beginnings.initial
    exist = Obligation(f"{initial.id} is a state", Kind.VACUITY, (initial.formula,), _FALSE, Answer.SOME)
    changed = ((rule, (initial.formula, *rule.guards)) for rule in beginnings.rules)
    return (exist, *(Obligation(f"{rule.id} is anything", Kind.ABILITY, here, after(rule, initial.formula)) for rule, here in changed))


def step_obligations(spec: Spec, book: StepBook[Any]) -> tuple[Obligation, ...]:
    """Return what the rules of `spec` owe for the claims of `book`."""
    return (*_claims(spec, book), *_abilities(spec, book), *_changes(spec, book))


def _invariant(spec: Spec) -> tuple[Expr[bool], ...]:
    return tuple(clause.formula for clause in spec.clauses)


def _claims(spec: Spec, book: StepBook[Any]) -> Iterator[Obligation]:
    names = {later.name: cell.name for cell, later in book.cells_after.items()}
    nothing = Rule("", "", "", "", spec.rules[0].actor, (), (), (), "")
    for claim in book.claims:
        yield Obligation(f"{claim.id} allows no step at all", Kind.STEP, _invariant(spec), stepped(nothing, book, claim.formula))
        speaks_of = {names[name] for name in cells_read(claim.formula) if name in names}
        for rule in spec.rules:
            if not speaks_of.isdisjoint(update.cell.name for update in rule.updates):
                hypotheses = (*_invariant(spec), *rule.guards)
                yield Obligation(f"{rule.id} keeps to {claim.id}", Kind.STEP, hypotheses, stepped(rule, book, claim.formula))


def _abilities(spec: Spec, book: StepBook[Any]) -> Iterator[Obligation]:
    rules = {rule.id: rule for rule in spec.rules}
    for ability in book.abilities:
        if ability.rule in rules:
            rule = rules[ability.rule]
            hypotheses = (*_invariant(spec), ability.condition)
            yield Obligation(ability.id, Kind.ABILITY, hypotheses, conjunction(*rule.guards, stepped(rule, book, ability.effect)))
            yield Obligation(f"{ability.id} somewhere", Kind.VACUITY, hypotheses, _FALSE, Answer.SOME)


def _changes(spec: Spec, book: StepBook[Any]) -> Iterator[Obligation]:
    for rule in spec.rules:
        if rule.id not in book.may_idle:
            yield Obligation(f"{rule.id} changes something", Kind.ABILITY, (*_invariant(spec), *rule.guards), changes_something(rule))


def conjunction(*formulas: Expr[bool]) -> Expr[bool]:
    """Return the formula that all of them hold."""
    whole: Expr[bool] = _TRUE
    for formula in formulas:
        whole = formula if whole is _TRUE else whole & formula
    return whole


def changes_something(rule: Rule) -> Expr[bool]:
    """Return whether some cell holds something else after the step than before it."""
    changed: Expr[bool] = _FALSE
    for update in rule.updates:
        written: Expr[Any] = Read(update.cell, update.key)
        differs: Expr[bool] = ~(update.value == written)
        for variable in update.bound:
            differs = Some(variable, differs)
        changed = differs if changed is _FALSE else changed | differs
    return changed


def stepped(rule: Rule, book: StepBook[Any], formula: Expr[bool]) -> Expr[bool]:
    """Return a formula about the states before and after a step of `rule`, in terms of the state before it."""

    def update(cell: Cell, later: Cell) -> Update:
        key: tuple[Parameter[Any], ...] = tuple(Parameter(f"{cell.name}{number}", sort) for number, sort in enumerate(cell.key))
        return Update(later, key, key, after(rule, Read(cell, key)))

    updates = tuple(update(cell, later) for cell, later in book.cells_after.items())
    return after(dataclasses.replace(rule, updates=updates), formula)
