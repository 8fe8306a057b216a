"""What has to be proved of progress: each measure, rule by rule, the chains of measures, and that nobody waits without a name for it."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any, Final

from colofd.model.proof_obligations import Answer, Kind, Obligation
from colofd.model.proof_sorts import question_cycle
from colofd.model.proof_trees import after, cells_read, substituted, walk
from colofd.model.proof_values import excludes
from colofd.spec.language import (
    And,
    Chain,
    Clause,
    Every,
    Excuse,
    Expr,
    Literal,
    Measure,
    Not,
    Or,
    Parameter,
    ProgressBook,
    Remaining,
    Rule,
    Some,
    Spec,
    Wait,
)
from colofd.spec.progress import both_sides, receiver, waits

_FALSE: Final[Literal[bool]] = Literal(False, bool)

Bindings = dict[Parameter[Any], Parameter[Any]]


def all_progress_obligations(spec: Spec) -> tuple[Obligation, ...]:
    """Return what `spec`, both sides or a change of them, owes for all that `spec.progress` says."""
    measured = (*progress_obligations(spec, receiver.progress), *progress_obligations(spec, both_sides.progress))
    return (*measured, *waiting_obligations(spec, waits.waits.waits, tuple(waits.end_states), waits.no_way_on))


def progress_obligations(spec: Spec, book: ProgressBook[Any]) -> tuple[Obligation, ...]:
    """Return what `spec` owes for all that `book` says; rules are taken from `spec` by their ids, so that it may be a changed one."""
    measures = (obligation for measure in book.measures for obligation in measure_obligations(spec, measure))
    return (*measures, *(obligation for chain in book.chains for obligation in _chain(spec, chain)))


def measure_obligations(spec: Spec, measure: Measure) -> tuple[Obligation, ...]:
    """Return the obligations of one measure: no step harms, each helpful one helps, one can be taken, and it says something."""
    begun = (measure.during, Not(measure.goal))
    someone = _disjunction([_is_possible(measure, spec.rule(rule.id)) for rule in measure.helpful])
    return (
        *_steps(spec, measure, begun),
        _obligation(spec, f"{measure.id}: a step that helps is possible", begun, someone),
        _example(spec, f"{measure.id}: there is something to wait for", begun),
    )


def waiting_obligations(spec: Spec, states: Sequence[Wait], ends: Sequence[Clause], no_way_on: Sequence[Excuse]) -> tuple[Obligation, ...]:
    """Return that somebody can go on wherever it is not an end or a wait, that each wait can be ended, and that there is such a wait."""
    on = _disjunction([possible(rule, _covered(rule, no_way_on)) for rule in spec.rules])
    elsewhere = tuple(Not(each.formula) for each in (*ends, *(wait.state for wait in states)))
    asked = [_obligation(spec, "somebody goes on", elsewhere, on)]
    for wait in states:
        out = _disjunction([possible(spec.rule(rule.id)) for rule in wait.ended_by])
        asked += [
            _obligation(spec, f"{wait.state.id}: it can be ended", (wait.state.formula,), out),
            _example(spec, f"{wait.state.id}: it can be", (wait.state.formula,)),
        ]
    return tuple(asked)


def _steps(spec: Spec, measure: Measure, begun: tuple[Expr[bool], ...]) -> Iterator[Obligation]:
    helpful = {rule.id for rule in measure.helpful}
    read = cells_read(measure.during, measure.goal, *(part.formula for part in measure.remaining))
    for rule in spec.rules:
        own = _of_same_name(measure, rule)
        assumed = (*begun, *rule.guards, *_covered(rule, measure.excuses))
        # A step that writes nothing of what the measure reads leaves all of it as it is; and one of another phase cannot be taken.
        changes = read & {update.cell.name for update in rule.updates} and not excludes(spec, assumed)
        if (rule.id not in helpful or own) and changes:
            yield _obligation(spec, f"{measure.id}: {rule.id} does not harm", assumed, _reached(measure, rule, is_smaller=False))
        if rule.id in helpful:
            mine = _instance(rule, own)
            assumed = (*begun, *mine.guards, *_covered(mine, measure.excuses))
            yield _obligation(spec, f"{measure.id}: {rule.id} helps", assumed, _reached(measure, mine, is_smaller=True))


def _reached(measure: Measure, rule: Rule, *, is_smaller: bool) -> Expr[bool]:
    """Return that after the step the goal is there; or that nothing more remains than before, or if asked for less."""
    kept = _conjunction(
        [after(rule, measure.during), *(_over(Every, part, after(rule, part.formula) >> part.formula) for part in measure.remaining)]
    )
    less = _disjunction([_over(Some, part, part.formula & ~after(rule, part.formula)) for part in measure.remaining])
    return after(rule, measure.goal) | (kept & less if is_smaller else kept)


def _chain(spec: Spec, chain: Chain) -> Iterator[Obligation]:
    """Yield for the start and the goal of each link that one of the links after it begins, or has ended, or the end is there."""
    begins = [substituted(link.measure.during, link.values) for link in chain.links]
    ends = [substituted(link.measure.goal, link.values) for link in chain.links]
    names = ["the start", *(f"the end of {link.measure.id}" for link in chain.links)]
    for number, (name, reached) in enumerate(zip(names, [chain.start, *ends], strict=True)):
        later = _disjunction([*begins[number:], *ends[number:], chain.end])
        yield _obligation(spec, f"{chain.id}: {name} leads on", (reached,), later)


def _is_possible(measure: Measure, rule: Rule) -> Expr[bool]:
    mine = _instance(rule, _of_same_name(measure, rule))
    return possible(mine, _covered(mine, measure.excuses), measure.parameters)


def possible(rule: Rule, also: Sequence[Expr[bool]] = (), known: Sequence[Parameter[Any]] = ()) -> Expr[bool]:
    """Return that the rule's guards, and these, hold for some values of its parameters; those that are `known` have theirs.

    A quantifier has only the guards below it that speak of its variable, which keeps sorts from leading back to themselves.
    """
    guards = [*rule.guards, *also]
    for parameter in reversed(rule.parameters):
        if not any(parameter is each for each in known):
            own = [guard for guard in guards if any(node is parameter for node in walk(guard))]
            guards = [guard for guard in guards if not any(guard is each for each in own)]
            guards += [Some(parameter, _conjunction(own))] if own else []
    return _conjunction(guards)


def _covered(rule: Rule, excuses: Sequence[Excuse]) -> tuple[Expr[bool], ...]:
    """Return what tells a step of `rule` from those that are excused."""
    own = {parameter.name: parameter for parameter in rule.parameters}
    return tuple(
        Not(substituted(excuse.where, {each: own[each.name] for each in excuse.rule.parameters if each.name in own}))
        for excuse in excuses
        if excuse.rule.id == rule.id
    )


def _of_same_name(measure: Measure, rule: Rule) -> Bindings:
    """Return the parameters of a rule that stand for those of the measure."""
    own = {parameter.name: parameter for parameter in measure.parameters}
    return {parameter: own[parameter.name] for parameter in rule.parameters if parameter.name in own}


def _instance(rule: Rule, values: Bindings) -> Rule:
    """Return the rule with values for some of its parameters."""
    return dataclasses.replace(
        rule,
        parameters=tuple(values.get(each, each) for each in rule.parameters),
        guards=tuple(substituted(guard, values) for guard in rule.guards),
        updates=tuple(
            dataclasses.replace(update, key=tuple(substituted(key, values) for key in update.key), value=substituted(update.value, values))
            for update in rule.updates
        ),
    )


def _obligation(spec: Spec, name: str, assumed: tuple[Expr[bool], ...], goal: Expr[bool]) -> Obligation:
    """Return the obligation, with all clauses that can be assumed without a cycle of sorts; to assume fewer is sound."""
    clauses: tuple[Expr[bool], ...] = _invariant(spec)
    asserted = (*assumed, Not(goal))
    if question_cycle(spec, (*clauses, *asserted)):
        clauses = tuple(clause for clause in clauses if not question_cycle(spec, (clause, *asserted)))
    return Obligation(name, Kind.PROGRESS, (*clauses, *assumed), goal)


def _example(spec: Spec, name: str, assumed: tuple[Expr[bool], ...]) -> Obligation:
    return Obligation(name, Kind.PROGRESS, (*_invariant(spec), *assumed), _FALSE, Answer.SOME)


def _over(quantifier: type[Every] | type[Some], part: Remaining, formula: Expr[bool]) -> Expr[bool]:
    for member in reversed(part.members):
        formula = quantifier(member, formula)
    return formula


def _conjunction(parts: Sequence[Expr[bool]]) -> Expr[bool]:
    return functools.reduce(And, parts) if parts else Literal(True, bool)


def _disjunction(parts: Sequence[Expr[bool]]) -> Expr[bool]:
    return functools.reduce(Or, parts) if parts else Literal(False, bool)


def _invariant(spec: Spec) -> tuple[Expr[bool], ...]:
    return tuple(clause.formula for clause in spec.clauses)
