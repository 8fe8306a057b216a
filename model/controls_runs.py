"""What a changed specification breaks: obligations that are not proved any more, and a shortest run from an initial state."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from colofd.model.controls_declared import Control, Shows
from colofd.model.finite import Instance
from colofd.model.finite_slices import slice_of
from colofd.model.proof import Verdict, verdicts
from colofd.model.proof_obligations import Kind, Obligation, obligations
from colofd.model.proof_progress import all_progress_obligations
from colofd.model.search_runs import Goal, Run, broken_clause, broken_promise, broken_state, shortest_run
from colofd.model.solver import Solver


def asked_of(control: Control) -> tuple[Obligation, ...]:
    """Return the obligations of what a change changes: the others are those of the specification, and proved there."""
    is_initial = control.initial is not control.base.initial
    of_text = (each for each in obligations(control.changed_spec) if is_initial or each.kind is not Kind.INITIATION)
    return (*of_text, *_asked_of_support(control), *_asked_of_progress(control))


def _asked_of_support(control: Control) -> list[Obligation]:
    """Return that clauses which support a change hold initially, and are kept by the rules that it leaves as they are."""
    changed = {rule.id for rule in control.rules}
    spec = replace(control.spec, rules=tuple(rule for rule in control.base.rules if rule.id not in changed))
    wanted = tuple(clause.id for clause in control.supporting)
    kinds = (Kind.INITIATION, Kind.CONSECUTION)
    return [each for each in obligations(spec) if each.kind in kinds and each.name.endswith(wanted)] if wanted else []


def _asked_of_progress(control: Control) -> list[Obligation]:
    # What is reached at last is told by many rules together: only a mistake that says so is asked, and only what it names.
    if control.shows is None or control.shows.breaks is not Kind.PROGRESS:
        return []
    return [each for each in all_progress_obligations(control.spec) if each.name in control.must_fail]


def unproved(control: Control, solvers: Sequence[Solver]) -> list[Verdict]:
    """Return the verdicts on the obligations that the solvers do not prove of a change."""
    spec, asked = control.changed_spec, asked_of(control)
    # One by one: these few are asked in this process.
    return [verdict for each in asked for verdict in verdicts(spec, [each], solvers) if not verdict.is_proved]


def instance_of(control: Control, shows: Shows) -> Instance:
    """Return the instance in which a run of a changed specification is searched."""
    return Instance(control.spec, slice_of(shows.part), shows.sizes)


@cache
def run_of(control: Control) -> Run | None:
    """Return a shortest run in which a wrong change breaks what it should, or None if it does not."""
    if control.shows is None:
        return None
    instance = instance_of(control, control.shows)
    return shortest_run(instance, goals_of(control, instance))


def goals_of(control: Control, instance: Instance) -> list[Goal]:
    """Return the goals that a change breaks what it says, in some instance of it; none if it is harmless."""
    if control.shows is None:
        return []
    breaks = control.shows.breaks
    if breaks is Kind.PROGRESS:
        return [goal for each in _asked_of_progress(control) for goal in broken_state(instance, each)]
    return broken_promise(instance, breaks) if isinstance(breaks, Kind) else broken_clause(instance, breaks)
