"""What `colofd prove` has found out, as text and as JSON."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from colofd.conformance.prove_controls import ControlResult, controls_json, controls_text
from colofd.conformance.prove_failures import Explanation, failure_json
from colofd.conformance.prove_mutants import MutantResult, mutants_json
from colofd.model.proof import Verdict
from colofd.model.proof_obligations import Answer, Kind
from colofd.model.smtlib_export import Exported
from colofd.model.solver import Solver, SolverName
from colofd.spec.assumptions import ASSUMPTIONS
from colofd.spec.protocol import spec_sha256


@dataclass(frozen=True)
class Proof:
    """All verdicts, why something is not proved, and what was found beside them; None is what was not asked for."""

    solvers: Sequence[Solver]
    verdicts: Sequence[Verdict]
    gates: Mapping[str, Sequence[str]]
    seconds: float
    only: Sequence[str] = ()
    failures: Sequence[tuple[Verdict, Explanation]] = ()
    controls: Sequence[ControlResult] | None = None
    mutants: Sequence[MutantResult] | None = None
    exported: Exported | None = None
    date: str = field(default_factory=lambda: datetime.now(UTC).date().isoformat())

    @property
    def holds(self) -> bool:
        """Whether everything is proved, every gate is passed, every control is noticed, and so is every mutant that is not equivalent."""
        is_proved = all(verdict.is_proved for verdict in self.verdicts) and not any(self.gates.values())
        return is_proved and all(result.is_noticed for result in self.controls or ()) and not self.unnoticed

    @property
    def unnoticed(self) -> list[str]:
        """The mutants that neither the proof nor progress notices, and that are not proved to be equivalent."""
        unnoticed: list[str] = mutants_json(self.mutants or ())["not_noticed"]
        return unnoticed

    @property
    def counts(self) -> dict[Kind, tuple[int, int]]:
        """For each kind, how many obligations are proved, and how many there are."""
        of_kind = {kind: [verdict.is_proved for verdict in self.verdicts if verdict.obligation.kind is kind] for kind in Kind}
        return {kind: (sum(proved), len(proved)) for kind, proved in of_kind.items() if proved}

    @property
    def slowest(self) -> tuple[str, SolverName, float]:
        """The question that took longest: which, whom, and how many seconds."""
        every = [(each.obligation.name, name, seconds) for each in self.verdicts for name, seconds in each.seconds.items()]
        return max(every, key=lambda each: each[2])


def proof_json(proof: Proof) -> dict[str, Any]:
    """Return what `colofd prove --json` prints."""
    name, by, seconds = proof.slowest
    return {
        "spec_sha256": spec_sha256(),
        "date": proof.date,
        "holds": proof.holds,
        "only": list(proof.only) or None,
        "obligations": len(proof.verdicts),
        "counts": {kind: {"proved": proved, "all": count} for kind, (proved, count) in proof.counts.items()},
        "solvers": {each.name: _solver_json(each, proof.verdicts) for each in proof.solvers},
        "unproved": [failure_json(*failure) for failure in proof.failures],
        "gates": {gate: not faults for gate, faults in proof.gates.items()},
        "gate_faults": [fault for faults in proof.gates.values() for fault in faults],
        "controls": None if proof.controls is None else controls_json(proof.controls),
        "mutants": None if proof.mutants is None else mutants_json(proof.mutants),
        "assumptions": [{"id": each.id, "text": each.text, "needed_by": list(each.needed_by)} for each in ASSUMPTIONS],
        "export": None if proof.exported is None else vars(proof.exported),
        "seconds": round(proof.seconds, 3),
        "slowest": {"name": name, "solver": by, "seconds": round(seconds, 4)},
    }


def _solver_json(solver: Solver, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    said = Counter(verdict.answers[solver.name] for verdict in verdicts)
    seconds = sum(verdict.seconds[solver.name] for verdict in verdicts)
    return {"version": solver.version, **{answer.value: said[answer] for answer in Answer}, "seconds": round(seconds, 3)}


def proof_text(proof: Proof) -> str:
    """Return what `colofd prove` prints."""
    lines = [f"specification {spec_sha256()}", f"solvers       {', '.join(f'{each.name} {each.version}' for each in proof.solvers)}"]
    lines += [f"{kind:13} {proved} of {count} proved" for kind, (proved, count) in proof.counts.items()]
    lines += [f"{'gate':13} {gate}: {'; '.join(faults) or 'passed'}" for gate, faults in proof.gates.items()]
    lines += [f"{'assumed':13} {len(ASSUMPTIONS)} things, see docs/proved.md or --json"]
    lines += [f"{'not asked':13} {what}" for what, asked in (("--controls", proof.controls), ("--mutants", proof.mutants)) if asked is None]
    lines += controls_text(proof.controls) if proof.controls is not None else []
    lines += _mutants_text(proof)
    lines += _export_text(proof.exported)
    name, by, seconds = proof.slowest
    lines += [f"{proof.seconds:.1f} s; slowest: {name}, {by} {seconds:.3f} s"]
    for verdict, explanation in proof.failures:
        lines += [f"not proved: {verdict.obligation.name} ({_said(verdict)})", *(f"  {line}" for line in explanation.lines)]
    return "\n".join([*lines, _verdict_line(proof)])


def _mutants_text(proof: Proof) -> list[str]:
    if proof.mutants is None:
        return []
    counts = mutants_json(proof.mutants)
    shown = ("by_proof", "by_progress", "by_count", "equivalent", "survived")
    said = ", ".join(f"{counts[each]} {each.replace('_', ' ')}" for each in shown)
    return [f"{counts['total']} mutants: {said}", *(f"  NOT NOTICED: {each}" for each in proof.unnoticed)]


def _export_text(exported: Exported | None) -> list[str]:
    if exported is None:
        return []
    lines = [f"exported      {exported.obligations} obligations"]
    if exported.proofs:
        lines += [f"              cvc5's proofs of {exported.proofs} of {exported.unsat} that say unsat; {exported.gapless} without a gap"]
    return lines


def _said(verdict: Verdict) -> str:
    answers = ", ".join(f"{name} says {answer}" for name, answer in verdict.answers.items())
    return f"{answers}; expected {verdict.obligation.expected}"


def _verdict_line(proof: Proof) -> str:
    total = len(proof.verdicts)
    which = f" that --only names ({', '.join(proof.only)})" if proof.only else ""
    if proof.holds:
        return f"all {total} obligations{which} are proved"
    return f"NOT PROVED: {len(proof.failures)} of {total} obligations{which}" if proof.failures else "NOT PROVED: see above"
