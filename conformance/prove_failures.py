"""Why something is not proved, in the spec's words: a state and a step that break it, and the shortest run that really does."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from colofd.conformance.decisions_proof import counterexample
from colofd.conformance.run_text import changes, run_text
from colofd.model.finite import Instance, Sizes
from colofd.model.finite_models import CounterModel, counter_model
from colofd.model.finite_slices import slice_of
from colofd.model.finite_terms import evaluate
from colofd.model.proof import Verdict
from colofd.model.proof_obligations import Answer, Kind, Obligation
from colofd.model.proof_trees import cells_read
from colofd.model.search_runs import Goal, Run, broken_clause, broken_promise, shortest_run
from colofd.spec.language import Spec

EXPLAINED: Final = 5
"""So many failures are explained; the others are named. One wrong text often breaks a dozen obligations."""

PROMISES: Final = (Kind.ISOLATION, Kind.OWNERSHIP, Kind.COMMIT)
"""What the proof promises of single steps: a run can break it without breaking a clause."""

_OF_RULES: Final = (Kind.INITIATION, Kind.CONSECUTION, *PROMISES)
"""What fails of these, a run can show."""

_OF_RECEIVE_PATH: Final = (("whole", Sizes(1, 1, 2)), ("whole", Sizes(2, 1, 2)), ("core", Sizes(1, 2, 2)), ("main-channel", Sizes(0, 2, 2)))
_OF_BOTH_SIDES: Final = (("both-sides", Sizes(1, 1, 2)),)


@dataclass(frozen=True)
class Explanation:
    """What is known of a failure; what could not be found is empty.

    `clause` is the id of the clause that fails, `state` a state that satisfies all hypotheses, and `step` what is done in it.
    `run` is a shortest run from an initial state that breaks `breaks`, in the instance `searched`; without a run, `searched` names all
    instances in which there is none.
    """

    clause: str = ""
    state: Sequence[str] = ()
    step: str = ""
    breaks: str = ""
    searched: str = ""
    run: Sequence[str] = ()
    run_length: int | None = None

    @property
    def lines(self) -> list[str]:
        """The explanation as text."""
        said = [f"breaks the clause {self.clause}"] if self.clause else []
        said += [f"if {', '.join(self.state)}"] if self.state else []
        said += [f"then {self.step}"] if self.step else []
        if self.run_length is not None:
            said += [
                f"a shortest run that breaks {self.breaks} ({self.run_length} steps; {self.searched}):",
                *(f"  {step}" for step in self.run),
            ]
        elif self.searched:
            said += [f"no run breaks it: {self.searched}"]
        return said


def explained(verdict: Verdict, specs: Sequence[Spec]) -> Explanation:
    """Return why an obligation is not proved. `specs` are those that it may be about, the smallest first."""
    obligation = verdict.obligation
    if obligation.kind is Kind.DECISION:
        return Explanation(state=[f"{name} = {value}" for name, value in counterexample(obligation).items()])
    if not isinstance(obligation, Obligation) or Answer.SOME not in verdict.answers.values() or obligation.expected is Answer.SOME:
        return Explanation()
    spec = next((each for each in specs if _is_about(obligation, each)), None)
    if spec is None:
        return Explanation()
    clause = _clause(obligation)
    found = counter_model(spec, obligation)
    if found is None:
        return Explanation(clause)
    known = Explanation(clause, _state(found, obligation), _step(found))
    return _with_run(known, spec, obligation.kind, spec is specs[0]) if obligation.kind in _OF_RULES else known


def _is_about(obligation: Obligation, spec: Spec) -> bool:
    cells = {cell.name for cell in spec.state.cells()}
    rule, _, clause = obligation.name.partition(" keeps ")
    is_known = not clause or (rule in {each.id for each in spec.rules} and clause in {each.id for each in spec.clauses})
    return is_known and cells_read(*obligation.hypotheses, obligation.goal) <= cells


def _clause(obligation: Obligation) -> str:
    if obligation.kind is Kind.INITIATION:
        return obligation.name.removeprefix("initially ")
    return obligation.name.partition(" keeps ")[2]


def _state(found: CounterModel, obligation: Obligation) -> list[str]:
    """Return what the state holds in the cells that the goal or the step speaks of, and the parameters of the goal."""
    rule = None if found.step is None else found.step.rule
    read: set[str] = cells_read(obligation.goal, *([] if rule is None else rule.guards))
    places = [place.name for place in found.instance.places if place.cell in read]
    described = found.instance.described(found.state)
    own = set() if rule is None else set(rule.parameters)
    parameters = [f"{each.name} = {number}" for each, number in found.bindings.items() if each not in own]
    return [*parameters, *(f"{name} = {described[name]}" for name in places)]


def _step(found: CounterModel) -> str:
    if found.step is None:
        return ""
    return f"{found.step.name}: {changes(found.instance, found.state, found.step.after(found.state))}"


def _with_run(known: Explanation, spec: Spec, kind: Kind, is_receive_path: bool) -> Explanation:
    searched = []
    for part, sizes in _OF_RECEIVE_PATH if is_receive_path else _OF_BOTH_SIDES:
        instance = Instance(spec, slice_of(part), sizes)
        searched.append(f"slice {part}, {sizes.channels} multifd channels, {sizes.pages} pages, {sizes.values} values")
        for breaks, goals in _goals(instance, known.clause, kind):
            run = shortest_run(instance, goals)
            if run is not None:
                what = breaks or _broken(instance, run)
                return Explanation(known.clause, known.state, known.step, what, searched[-1], run_text(instance, run), len(run))
    return Explanation(known.clause, known.state, known.step, searched="; ".join(searched))


def _goals(instance: Instance, clause: str, kind: Kind) -> Iterator[tuple[str, list[Goal]]]:
    """Yield what a run may break: first what is not proved, then anything at all."""
    if clause in instance.clauses:
        yield clause, broken_clause(instance, clause)
    elif kind in PROMISES:
        yield f"what is promised as {kind}", broken_promise(instance, kind)
    promises = [goal for promise in PROMISES for goal in broken_promise(instance, promise)]
    yield "", [*(goal for each in instance.clauses for goal in broken_clause(instance, each)), *promises]


def _broken(instance: Instance, run: Run) -> str:
    """Return the clauses that do not hold at the end of a run."""
    wrong = [identifier for identifier, term in instance.clauses.items() if not evaluate(term, run.states[-1])]
    return ", ".join(wrong) or "what is promised of its last step"


def failures(unproved: Sequence[Verdict], specs: Sequence[Spec]) -> list[tuple[Verdict, Explanation]]:
    """Return what is not proved, and why for the first of it."""
    return [(verdict, explained(verdict, specs) if number < EXPLAINED else Explanation()) for number, verdict in enumerate(unproved)]


def failure_json(verdict: Verdict, explanation: Explanation) -> dict[str, Any]:
    """Return a failure as `colofd prove --json` prints it."""
    return {
        "name": verdict.obligation.name,
        "kind": verdict.obligation.kind,
        "expected": verdict.obligation.expected,
        "answers": verdict.answers,
        "clause": explanation.clause or None,
        "state": list(explanation.state),
        "step": explanation.step or None,
        "breaks": explanation.breaks or None,
        "searched": explanation.searched or None,
        "run_length": explanation.run_length,
        "run": list(explanation.run),
    }
